package main

import (
	"fmt"
	"math"
	"text/template"
)

// funcs returns the functions of the templates. Rows come last, so that they can be piped:
//
//	{{rows "gmm_steering.json" "method=dps" "dynamics=ode" | mean "sw2" | f3}}
func (s *store) funcs() template.FuncMap {
	fixed := func(decimals int) func(x float64) string {
		return func(x float64) string { return fmt.Sprintf("%.*f", decimals, x) }
	}
	return template.FuncMap{
		"rows":   s.rows,
		"where":  func(condition string, rows []row) []row { return where(rows, condition) },
		"filter": func(condition string, rows []row) []row { return filter(rows, condition) }, "nested": nested,
		"mean": mean, "deviation": deviation, "least": least, "most": most, "mostOff": mostOff,
		"median": median, "only": only,
		"within": within, "span": span, "geometric": geometric, "geometricSE": geometricSE,
		"count":  func(rows []row) int { return len(rows) },
		"groups": func(key string, rows []row) int { return len(groupBy(rows, key)) },
		"f0":     fixed(0), "f1": fixed(1), "f2": fixed(2), "f3": fixed(3), "f4": fixed(4),
		"percent": func(decimals int, x float64) string { return fmt.Sprintf("%.*f %%", decimals, 100*x) },
		"comma":   comma, "word": word,
		"sub":       func(a, b float64) float64 { return a - b },
		"div":       func(a, b float64) float64 { return a / b },
		"log":       math.Log,
		"mul":       func(a, b float64) float64 { return a * b },
		"beyond":    beyond,
		"max":       func(a, b float64) float64 { return max(a, b) },
		"thousands": func(x float64) string { return comma(1000 * math.Round(x/1000)) },
		"list":      func(items ...string) []string { return items },
		"rms":       rms, "fallSE": fallSE,

		"lossTable": s.lossTable, "leadsFrom": s.leadsFrom, "parametrizationTable": s.parametrizationTable,
		"digitsTable": s.digitsTable, "variation": s.variation,
		"steeringTable": s.steeringTable, "exactShares": exactShares, "memoryTable": s.memoryTable, "memoryGrowth": s.memoryGrowth,
		"digitsSteeringTable": s.digitsSteeringTable, "digitsL2": s.digitsL2, "medianL2SE": medianL2SE,
		"tuningTable": s.tuningTable, "monitorTable": s.monitorTable, "biasSlopes": s.biasSlopes,
		"digitsTuningTable": s.digitsTuningTable, "tunedDigits": s.tunedDigits,
		"provoked": s.provoked, "mostLateKL": mostLateKL,
		"diversityTable": s.diversityTable, "modeTable": s.modeTable, "spreadCounts": s.spreadCounts,
		"baseTable": s.baseTable, "slopes": s.slopes,
		"equalTable": s.equalTable, "equalDigitsTable": s.equalDigitsTable,
		"precisionTable": s.precisionTable, "manifoldTable": s.manifoldTable, "pointsTable": s.pointsTable, "pointsClaim": s.pointsClaim,
		"speedTable": s.speedTable, "checkpointTable": s.checkpointTable, "checkpointClaim": s.checkpointClaim,
		"checkpointProcess": s.checkpointProcess,
		"fuzzTable":         s.fuzzTable, "total": total,
		"measures": s.measures, "gaussianFactorTable": s.gaussianFactorTable, "gaussianMethodTable": s.gaussianMethodTable,
		"gaussianDims": s.gaussianDims, "gaussianFactors": s.gaussianFactors, "ceiling": ceiling, "ceilingKL": ceilingKL,
		"crossing": s.crossing, "whenMixture": s.whenMixture, "whenDigits": s.whenDigits, "whenKL": s.whenKL,
		"unsteeredTargets": s.unsteeredTargets, "whichMethod": s.whichMethod,
		"mixtureSizes": s.mixtureSizes, "diamondFarther": s.diamondFarther,
		"usableNumber": func() int { return usableNumber }, "excessSpan": s.excessSpan, "paired": paired,
		"equalRewardTable": s.equalRewardTable, "paperKL": paperKL,
		"mostCandidates": func() float64 { return mostCandidates },
		"exists":         s.exists, "shown": s.shown, "pictureTables": s.pictureTables, "steeredPictures": s.steeredPictures,
		"valueTables": s.valueTables, "valueClaim": s.valueClaim,
		"fewEffective":  func() int { return fewEffective },
		"recoveryTable": s.recoveryTable, "recoveryClaim": s.recoveryClaim,
		"generationClaim": s.generationClaim, "tunedTables": s.tunedTables, "tunedRows": s.tunedRows,
		"claimTuned": s.claimTuned, "poolPictures": s.poolPictures,

		"gallery": s.gallery, "parityTable": s.parityTable, "idleTable": s.idleTable, "killTable": s.killTable,
	}
}
