package main

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// steeringTable is the comparison of the methods on the tilted mixture, by ODE and by SDE.
func (s *store) steeringTable() string {
	type method struct {
		label, conditions, model string
		ns                       []int
	}
	doubling := []int{1, 2, 4, 8, 16, 32, 64, 128}
	var lines [][]string
	for _, m := range []method{
		{"exact drift", "method=exact", "law", nil},
		{"exact ∇V, the map's own drift", "method=exact", "", nil},
		{"unsteered", "method=unsteered", "", nil},
		{"DPS", "method=dps", "", nil},
		{"MFM-G", "method=mfm-g", "", doubling},
		{"MFM-GF", "method=mfm-gf", "", doubling},
		{"Best-of-N", "method=best-of-n", "", doubling},
		{"SMC, twist DPS", "method=smc-dps", "", nil},
		{"SMC, twist MFM-GF", "method=smc-mfm-gf", "", []int{4, 16, 64}},
		{"SMC, twist MFM-G", "method=smc-mfm-g", "", []int{4, 16, 64}},
	} {
		all := s.rows("gmm_steering.json", m.conditions, "model="+m.model)
		if m.ns == nil {
			lines = append(lines, steeringLine(m.label, "", all))
		}
		for _, n := range m.ns {
			lines = append(lines, steeringLine(m.label, fmt.Sprint(n), where(all, fmt.Sprintf("n=%d", n))))
		}
	}
	return table("method | N | NFE | ODE: sliced W₂ | MMD² · 1000 | shares | seeds | SDE: sliced W₂ | MMD² · 1000 | shares | seeds",
		lines)
}

func steeringLine(label, n string, rows []row) []string {
	line := []string{label, n, rows[0].format("%.0f", "nfe")}
	for _, dynamics := range []string{"ode", "sde"} {
		of := filter(rows, "dynamics="+dynamics)
		if len(of) == 0 {
			line = append(line, "", "", "", "")
			continue
		}
		mmd := values("mmd", of)
		floats.Scale(1000, mmd)
		line = append(line, within("%.3f", "sw2", of), withinValues("%.2f", mmd), shares("weights", of), fmt.Sprint(len(of)))
	}
	return line
}

// paired returns how many times the mean error of steered runs is that of the exact drift over the
// same seeds.
func paired(exact, rows []row) float64 {
	var same []row
	for _, r := range rows {
		same = append(same, where(exact, "seed="+r.Text("seed"))...)
	}
	return mean("sw2", rows) / mean("sw2", same)
}

// exactShares formats the weights of the three components of the paper's mixture, tilted.
func exactShares() (string, error) {
	r := mixture.PaperReward()
	tilted, _, err := gmm.Paper().Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		return "", err
	}
	weights := tilted.Weights()
	return fmt.Sprintf("%.3f, %.3f, %.3f", weights[0], weights[1], weights[2]), nil
}

// memoryTable is the peak memory of steered runs by rows at a time and particles.
func (s *store) memoryTable() string {
	var lines [][]string
	for _, g := range groupBy(s.rows("steering_memory.json"), "rows") {
		megabytes := func(particles string) string {
			return fmt.Sprintf("%.0f MB", only("peak_rss_mb", where(g, "particles="+particles)))
		}
		lines = append(lines, []string{comma(g[0].Num("rows")), megabytes("1024"), megabytes("4096")})
	}
	return table("rows at a time | 1,024 particles | 4,096 particles", lines)
}

// memoryGrowth returns by how much the peak memory grows at most with all the particles, or with
// all the rows at a time, of the table.
func (s *store) memoryGrowth() float64 {
	rows, growth := s.rows("steering_memory.json"), 0.0
	for _, key := range []string{"rows", "particles"} {
		for _, g := range groupBy(rows, key) {
			growth = max(growth, most("peak_rss_mb", g)/g[0].Num("peak_rss_mb")-1)
		}
	}
	return growth
}

// l2SE returns the standard error of the L2 of a class histogram.
func l2SE(r row) float64 { return decode[image.SteeringResult]([]row{r})[0].L2SE() }

// medianL2SE returns the median standard error of the L2 of class histograms.
func medianL2SE(rows []row) float64 {
	var errors []float64
	for _, r := range rows {
		errors = append(errors, l2SE(r))
	}
	slices.Sort(errors)
	return errors[len(errors)/2]
}

// digitsL2 formats the L2 of the steered digits that meet the conditions, with its standard error.
func (s *store) digitsL2(conditions ...string) string {
	rows := s.rows("mnist_steering.json", conditions...)
	return fmt.Sprintf("%.3f ± %.3f", only("l2", rows), l2SE(rows[0]))
}

// digitsSteeringTable is the comparison of the methods on digits. A particle filter has no standard
// error, since its particles share ancestors.
func (s *store) digitsSteeringTable() string {
	var lines [][]string
	add := func(label, method string, filtered bool, ns ...int) {
		for _, n := range ns {
			dynamics := "ode"
			if filtered || label == "MFM-G, by the SDE" {
				dynamics = "sde"
			}
			r := s.rows("mnist_steering.json", "method="+method, "dynamics="+dynamics, fmt.Sprintf("n=%d", n))[0]
			l2, count := r.format("%.3f", "l2"), fmt.Sprint(n)
			if !filtered {
				l2 += fmt.Sprintf(" ± %.3f", l2SE(r))
			}
			if method == "unsteered" || method == "dps" || method == "smc-dps" {
				count = ""
			}
			lines = append(lines,
				[]string{label, count, r.format("%.0f", "nfe"), l2, r.format("%.3f", "l2_second_evaluator"),
					r.format("%.2f", "reward"), r.format("%.2f", "distance")})
		}
	}
	doubling := []int{1, 2, 4, 8, 16, 32}
	add("unsteered", "unsteered", false, 1)
	add("DPS", "dps", false, 1)
	add("SMC, twist DPS", "smc-dps", true, 1)
	add("SMC, twist MFM-GF", "smc-mfm-gf", true, 4)
	add("SMC, twist MFM-G", "smc-mfm-g", true, 4)
	add("MFM-G", "mfm-g", false, doubling...)
	add("MFM-G, by the SDE", "mfm-g", false, 4)
	add("MFM-GF", "mfm-gf", false, doubling...)
	add("Best-of-N", "best-of-n", false, doubling...)
	add("search, greedy, renoised", "search-greedy-renoise", false, 4)
	add("search, softmax, renoised", "search-softmax-renoise", false, 4)
	add("search, greedy, DDPM", "search-greedy-ddpm", false, 4)
	add("search, softmax, DDPM", "search-softmax-ddpm", false, 4)
	return table("method | N | NFE | L2 ± standard error | by the second evaluator | reward | distance", lines)
}

// temperatureFile has the results of mfm stress gradients on digits.
const temperatureFile = "mnist_temperature.json"

// temperatureTable is the quality of estimates of ∇V on digits by the temperature of the
// classifier.
func (s *store) temperatureTable() string {
	var lines [][]string
	results := decode[image.TemperatureResult](s.rows(temperatureFile))
	for _, n := range []int{8, 32} {
		for _, r := range results {
			of := func(method string) image.GradientResult {
				i := slices.IndexFunc(r.Estimates, func(e image.GradientResult) bool { return e.Method == method && e.N == n })
				if i < 0 {
					panic(fmt.Errorf("%s: no %s with n = %d at temperature %g", temperatureFile, method, n, r.Temperature))
				}
				return r.Estimates[i]
			}
			g, free := of("mfm-g"), of("mfm-gf")
			lines = append(lines, []string{
				fmt.Sprint(n), fmt.Sprint(r.Temperature), fmt.Sprintf("%.2f", g.Median), fmt.Sprintf("%.2f ± %.2f", g.Mean, g.MeanSE),
				fmt.Sprintf("%.1f", g.Length), fmt.Sprintf("%.2f", free.Median), fmt.Sprintf("%.1f", free.Length),
				fmt.Sprintf("%.2f", g.Shares.Weights), fmt.Sprintf("%.2f", g.Shares.Reward), fmt.Sprintf("%.2f", g.Shares.Estimate),
			})
		}
	}
	return table("N | τ | MFM-G, median | mean | length | MFM-GF, median | length | share: weights | "+
		"with ∇r | with Jᵀ∇r", lines)
}
