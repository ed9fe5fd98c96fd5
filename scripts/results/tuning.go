package main

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tuningTable is the comparison of the methods of fine-tuning on the tilted mixture.
func (s *store) tuningTable() string {
	var lines [][]string
	add := func(label, method, network string, drawn bool, ns ...int) {
		for _, n := range ns {
			rows := s.rows("finetuning_gmm.json", "method="+method, "network="+network, fmt.Sprintf("n=%d", n),
				"lambda=1")
			count := ""
			if drawn {
				count = fmt.Sprint(n)
			}
			error, errorSE := metric.MeanSE(values("drift_error", rows))
			lines = append(lines, []string{
				label, count, fmt.Sprint(len(rows)), within("%.3f", "ode.sw2", rows),
				shares("ode.weights", rows), within("%.3f", "sde.sw2", rows),
				fmt.Sprintf("%.2f ± %.2f %%", 100*error, 100*errorSE), fmt.Sprintf("%.2f", mean("reward", rows)),
				fmt.Sprintf("%.2f", mean("kl", rows)), fmt.Sprintf("%.0f", median("seconds", rows)),
			})
		}
	}
	add("MFM-FT", "mfm-ft", "adapter", true, 1, 8, 32)
	add("MFM-FT, a copy of the base", "mfm-ft", "copy", true, 8)
	add("MFM-FT, low-rank updates", "mfm-ft", "low-rank", true, 8)
	add("plug-in MFM-G", "plug-in-mfm-g", "adapter", true, 8, 32)
	add("plug-in MFM-GF", "plug-in-mfm-gf", "adapter", true, 8, 32)
	add("reward-weighted, endless data", "reward-weighted", "adapter", false, 8)
	add("adjoint matching", "adjoint", "adapter", false, 8)
	add("the exact ∇V as target", "plug-in-exact", "adapter", false, 8)
	return table("method | N | seeds | ODE: sliced W₂ | shares | SDE: sliced W₂ | drift error | reward | KL, nats | "+
		"training, s (median)", lines)
}

// monitorTable says in how many runs on the mixture each monitor reported, by method and λ.
func (s *store) monitorTable() string {
	var lines [][]string
	for _, method := range []struct{ name, label string }{{"mfm-ft", "MFM-FT"}, {"plug-in-mfm-g", "plug-in MFM-G"}} {
		for _, lambda := range []int{1, 2, 5, 10, 20, 50, 100} {
			rows := s.rows("finetuning_gmm.json", "method="+method.name, "network=adapter", "n=8",
				fmt.Sprintf("lambda=%d", lambda))
			line := []string{method.label, fmt.Sprint(lambda), fmt.Sprint(len(rows))}
			if rows[0].Text("diverged") != "" {
				lines = append(lines, append(line, "diverged"))
				continue
			}
			line = append(line, fmt.Sprintf("%.1f %%", 100*mean("drift_error", rows)),
				span("%.2f", "ode.diversity", rows),
				span("%.2f", "kl/kl_best", rows))
			for _, monitor := range []string{"collapsed", "overshot", "behind"} {
				line = append(line, fmt.Sprint(len(filter(rows, monitor+"=true"))))
			}
			lines = append(lines, line)
		}
	}
	return table("method | λ | runs | drift error | diversity, ODE | KL over the optimum's | `Collapse` | "+
		"`Overshoot` | `Behind`", lines)
}

// biasSlopes counts the cases, a plug-in, λ and t, in which the bias, over N from 16 on, exceeds
// twice its standard error for at least two N. It says how many of their slopes of log bias against
// log N lie within [-1.3, -0.7], and which do not.
func (s *store) biasSlopes() string {
	inside, all := 0, 0
	names := map[string]string{"plug-in-mfm-g": "MFM-G", "plug-in-mfm-gf": "MFM-GF"}
	var others []string
	plugIns := s.rows("finetuning_variance.json", "method=plug-in-mfm-g|plug-in-mfm-gf", "n>=16")
	for _, of := range groupBy(plugIns, "method", "lambda") {
		outside := 0
		for _, g := range groupBy(of, "t") {
			var logN, logBias []float64
			for _, r := range g {
				if bias := r.Num("bias"); bias > 2*r.Num("bias_se") {
					logN, logBias = append(logN, math.Log(r.Num("n"))), append(logBias, math.Log(bias))
				}
			}
			if len(logN) < 2 {
				continue
			}
			all++
			if _, slope := stat.LinearRegression(logN, logBias, nil, false); slope >= -1.3 && slope <= -0.7 {
				inside++
			} else {
				outside++
			}
		}
		if outside > 0 {
			others = append(others, fmt.Sprintf("%s at λ = %s (%d)", names[of[0].Text("method")], of[0].Text("lambda"), outside))
		}
	}
	text := fmt.Sprintf("%d of the %d cases in which the bias exceeds twice its standard error for at least two N", inside, all)
	if others != nil {
		text += "; the others are of " + enumerate(others)
	}
	return text
}

// lateKL is [tune.LateKL] of the evaluations along a training.
func lateKL(r row) (mean, se float64) {
	var all []tune.Evaluation
	for _, e := range r.list("evaluations") {
		all = append(all, tune.Evaluation{Step: int64(e.Num("step")), KL: e.Num("kl"), KLSE: e.Num("kl_se")})
	}
	return tune.LateKL(all)
}

// tunedDigits returns the runs of the sweep over λ on digits: the tilted prior alone, which has one
// step of training, or the tuned drift.
func (s *store) tunedDigits(tuned bool, conditions ...string) []row {
	steps := "tune_steps=1"
	if tuned {
		steps = "tune_steps=1000"
	}
	return s.rows("finetuning_mnist.json", append(conditions, "method=mfm-ft-gf", "network=tilted-copy", steps)...)
}

// digitsTuningTable is the comparison of the methods of fine-tuning on digits.
func (s *store) digitsTuningTable() string {
	var lines [][]string
	add := func(label string, r row) {
		lambda, steps, kl := comma(r.Num("lambda")), comma(r.Num("tune_steps")), ""
		if r.Num("lambda") < 1 {
			lambda = "10⁻⁶"
		}
		if r.Num("tune_steps") == 1 {
			steps = ""
		} else {
			m, se := lateKL(r)
			kl = fmt.Sprintf("%.2f ± %.2f", m, se)
		}
		lines = append(lines, []string{
			label, r.Text("network"), lambda, steps, comma(r.Num("tune_nfe")),
			r.format("%.3f", "l2"), r.format("%.3f", "l2_floor"), r.format("%.3f", "l2_second_evaluator"),
			fmt.Sprintf("%.2f (%.2f)", r.Num("reward"), r.Num("reward_target")), r.format("%.2f", "distance"),
			r.format("%.2f", "diversity"), kl,
		})
	}
	add("prior alone", s.tunedDigits(false, "lambda=1e-6")[0])
	for _, lambda := range []int{1, 2, 5, 10, 20, 50, 100, 1000} {
		at := fmt.Sprintf("lambda=%d", lambda)
		add("prior alone", s.tunedDigits(false, at)[0])
		add("MFM-FT", s.tunedDigits(true, at)[0])
	}
	add("MFM-FT", s.rows("finetuning_mnist.json", "method=mfm-ft-gf", "network=copy")[0])
	add("MFM-FT, with gradient", s.rows("finetuning_mnist.json", "method=mfm-ft")[0])
	add("plug-in MFM-GF", s.rows("finetuning_mnist.json", "method=plug-in-mfm-gf")[0])
	add("reward-weighted", s.rows("finetuning_mnist.json", "method=reward-weighted")[0])
	return table("method | network | λ | steps | NFE | L2 | L2 floor | by the second evaluator | reward (target's) | "+
		"distance | diversity | KL, nats", lines)
}

// provoked returns the last evaluation of the run on digits whose failure was provoked at λ, with
// that run at the key run.
func (s *store) provoked(lambda string) []row {
	r := s.rows("finetuning_mnist.json", "method=plug-in-mfm-g", "lambda="+lambda)[0]
	evaluations := r.list("evaluations")
	last := map[string]any{"run": r.fields}
	for key, v := range evaluations[len(evaluations)-1].fields {
		last[key] = v
	}
	return []row{{r.file, last}}
}

// mostLateKL returns the largest late divergence of the trainings over that of their targets.
func mostLateKL(rows []row) float64 {
	largest := 0.0
	for _, r := range rows {
		kl, _ := lateKL(r)
		largest = max(largest, kl/r.Num("kl_target"))
	}
	return largest
}
