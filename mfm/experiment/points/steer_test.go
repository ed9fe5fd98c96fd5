package points

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/steer"
)

// independent returns n points of independent Gaussian columns, 100 ± 10 and 1 ± 0.01.
func independent(n int) *tabular.Table {
	rng := rand.New(rand.NewPCG(4, 1))
	t := &tabular.Table{Columns: []string{"mass", "ratio"}}
	for range n {
		t.Rows = append(t.Rows, []float64{100 + 10*rng.NormFloat64(), 1 + 0.01*rng.NormFloat64()})
	}
	return t
}

// oneGaussian is a configuration whose map without a network is exact for independent Gaussian
// columns.
func oneGaussian() Config {
	c := small()
	c.Parametrization = mfm.GaussianName
	return c
}

// exactSteering steers the exact map of independent Gaussian columns to a reward.
func exactSteering(t *testing.T, reward string) *Steering {
	t.Helper()
	data := split(t, independent(20_000))
	e, store := bare(t, oneGaussian(), data)
	s, err := NewSteering(e, store, data, []byte(reward))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// steeringOfClasses steers a map of two classes without a network to a mass.
func steeringOfClasses(t *testing.T, n int) (*Steering, *Data) {
	t.Helper()
	config := small()
	config.SetClasses("kind", 2)
	data := split(t, gaussians(n, true))
	e, store := bare(t, config, data)
	s, err := NewSteering(e, store, data, []byte(`{"kind":"linear","weights":{"mass":0.1}}`))
	if err != nil {
		t.Fatal(err)
	}
	return s, data
}

// setting returns a setting of a method.
func setting(method string, samples int) steering.Setting {
	entry, _ := steer.Lookup(method)
	c := steering.Setting{Method: method, N: 4, Samples: samples, Config: entry.DefaultConfig()}
	c.Config.Steps = 40
	return c
}

// Rewards of points are in the units of the data.
func TestRewards(t *testing.T) {
	data := split(t, gaussians(400, false))
	e, store := bare(t, oneGaussian(), data)
	for raw, want := range map[string]func(mass, ratio float64) float64{
		`{"kind": "column", "column": "ratio", "target": 1.01, "width": 0.02}`: func(_, ratio float64) float64 {
			return -math.Pow((ratio-1.01)/0.02, 2) / 2
		},
		`{"kind": "linear", "weights": {"mass": -0.1, "ratio": 50}}`: func(mass, ratio float64) float64 {
			return -0.1*mass + 50*ratio
		},
		`{"kind": "measurement", "weights": {"mass": 0.01, "ratio": -1}, "target": 0.1, "width": 0.2}`: func(
			mass, ratio float64,
		) float64 {
			return -math.Pow((0.01*mass-ratio-0.1)/0.2, 2) / 2
		},
		`{"kind": "linear_gaussian", "a": [[0.01, -1]], "y": [0.1], "sigma": 0.2}`: func(mass, ratio float64) float64 {
			return -math.Pow((0.01*mass-ratio-0.1)/0.2, 2) / 2
		},
		`{"kind": "sum", "of": [{"kind": "scaled", "factor": 3, "of": {"kind": "linear", "weights": {"mass": 1}}},
			{"kind": "quadratic", "center": [0, 1], "weight": [0, 2]}]}`: func(mass, ratio float64) float64 {
			return 3*mass - (ratio-1)*(ratio-1)
		},
	} {
		s, err := NewSteering(e, store, data, []byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		for i, row := range data.Train.Rows[:20] {
			if got, want := s.rewards[i], want(row[0], row[1]); math.Abs(got-want) > 1e-5*(1+math.Abs(want))+1e-4 {
				t.Errorf("%s: reward %g of %v, want %g", raw, got, row, want)
			}
		}
	}
	for raw, want := range map[string]string{
		`{"kind": "column", "column": "size", "target": 1, "width": 1}`:       `column "size" is unknown: use "mass",`,
		`{"kind": "column", "column": "mass", "width": 1}`:                    `want "column", "target" and "width"`,
		`{"kind": "column", "column": "mass", "target": 1}`:                   `width = 0: "width" is missing`,
		`{"kind": "linear", "weights": {}}`:                                   "no weights: give one",
		`{"kind": "linear", "weights": {"mass": 1e300}}`:                      "too large for float32",
		`{"kind": "linear", "weights": {"mass": "1"}}`:                        "weights",
		`{"kind": "brightness", "target": 0, "width": 1}`:                     `kind "brightness" is unknown: use one`,
		`{"kind": "box", "low": [0, 0, 0], "high": [1, 1, 1], "width": 1}`:    "does not fit samples of shape [2]",
		`{"kind": "sum", "of": [{"kind": "linear", "weights": {"size": 1}}]}`: `of[0]: reward linear: column "size"`,
	} {
		_, err := NewSteering(e, store, data, []byte(raw))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", raw, err, want)
		}
	}
}

// A linear reward a·x tilts N(m, C) to N(m + λ C a, C): steered samples have its moments, and so
// have the weighted rows. Their divergence is λ² aᵀ C a/2, with e^{λ² aᵀ C a} rows for one.
func TestSteeringOfAGaussian(t *testing.T) {
	b := backendtest.New(t)
	s := exactSteering(t, `{"kind": "linear", "weights": {"mass": 0.08, "ratio": 20}}`)
	const lambda, samples = 1., 1536
	const before, square = 0.08*100 + 20*1, 0.08*0.08*100 + 20*20*1e-4 // a·m and aᵀ C a
	deviations, shift := [2]float64{10, 0.01}, [2]float64{lambda * 100 * 0.08, lambda * 1e-4 * 20}
	for _, method := range []string{"mfm-g", "mfm-gf", "smc-mfm-gf", "unsteered"} {
		of := setting(method, samples)
		if strings.HasPrefix(method, "smc") {
			of.Config.Dynamics, of.Particles = steer.SDE, samples
		}
		if method == "mfm-gf" {
			of.N = 64
		}
		if err := s.Check(of); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, of)
		if err != nil {
			t.Fatal(err)
		}
		tilt, limit := 1., 0.12 // of a standard deviation
		if method == "unsteered" {
			tilt = 0
		}
		for j, m := range []float64{100, 1} {
			std := deviations[j]
			got := r.Columns[j]
			for name, z := range map[string]float64{
				"mean":          (got.Mean - m - tilt*shift[j]) / std,
				"std":           got.Std/std - 1,
				"mean before":   (got.MeanBefore.Float() - m) / std,
				"std before":    got.StdBefore.Float()/std - 1,
				"target's mean": (got.MeanTarget.Float() - m - shift[j]) / std,
				"target's std":  got.StdTarget.Float()/std - 1,
			} {
				if !(math.Abs(z) < limit) {
					t.Errorf("%s, column %s: %s is off by %.3f deviations: %+v", method, got.Name, name, z, got)
				}
			}
		}
		for name, v := range map[string][2]float64{
			"reward": {r.Reward.Float(), before + tilt*lambda*square}, "before": {r.RewardBefore.Float(), before},
			"of the target": {r.RewardTarget.Float(), before + lambda*square},
		} {
			if !(math.Abs(v[0]-v[1]) < 0.12*math.Sqrt(square)) {
				t.Errorf("%s: reward %s %.3f, want %.3f", method, name, v[0], v[1])
			}
		}
		kl, effective := r.TargetKL.Float(), r.TargetEffective.Float()
		if want := 18_000 * math.Exp(-square); math.Abs(kl/(square/2)-1) > 0.06 || math.Abs(effective/want-1) > 0.1 {
			t.Errorf("%s: divergence %.3f, %.0f rows, want %.3f, %.0f", method, kl, effective, square/2, want)
		}
		// Unsteered samples are |shift|/√2 away, in standard deviations of the columns.
		apart := math.Hypot(shift[0]/10, shift[1]/0.01) / math.Sqrt2
		if sw2 := r.SW2.Float(); tilt > 0 && sw2 > 0.1 || tilt == 0 && math.Abs(sw2/apart-1) > 0.1 {
			t.Errorf("%s: sliced W2 %.3f, floor %.3f, unsteered %.3f", method, sw2, r.Floor.Float(), apart)
		}
		if v := r.SW2Before.Float(); math.Abs(v/apart-1) > 0.1 || r.Floor.Float() > 0.08 ||
			strings.Contains(fmt.Sprint(r.Warnings), "no comparison") {
			t.Errorf("%s: sliced W2 before %.3f, want %.3f; floor %.3f; warnings %q", method, v, apart, r.Floor.Float(),
				r.Warnings)
		}
		if len(r.Samples) != samples || len(r.RewardQuantiles) != 5 {
			t.Errorf("%s: %d samples, quantiles %v", method, len(r.Samples), r.RewardQuantiles)
		}
	}
}

// A reward that few rows have is steered to, and the result says that there is no comparison.
func TestSteeringBeyondTheRows(t *testing.T) {
	data := split(t, independent(300))
	e, store := bare(t, oneGaussian(), data)
	s, err := NewSteering(e, store, data, []byte(`{"kind": "linear", "weights": {"mass": 0.12}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), backendtest.New(t), setting("best-of-n-one-step", 1024))
	if err != nil {
		t.Fatal(err)
	}
	// The largest of four normal numbers is 1.0294 on the average; 270 rows determine the moments
	// to 6%.
	if got := r.Columns[0]; math.Abs(got.Mean-110.294) > 1.5 {
		t.Errorf("the best of four masses are %g ± %g", got.Mean, got.Std)
	}
	if !r.SW2.IsZero() || !strings.Contains(fmt.Sprint(r.Warnings), "weighted by e^{λ r} have an effective number of") {
		t.Errorf("sliced W2 %v, warnings %q", r.SW2, r.Warnings)
	}
}

// Samples that are guided toward a class are not compared with rows, by which they are not
// distributed even before steering.
func TestSteeringWithGuidance(t *testing.T) {
	s, _ := steeringOfClasses(t, 2000)
	class, c := 1, setting("unsteered", 64)
	c.Class, c.Config.Steps = &class, 4
	for guidance, want := range map[float64]bool{0: true, 1: true, 2: false} {
		c.Guidance = guidance
		r, err := s.Run(t.Context(), backendtest.New(t), c)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(r.Warnings)
		if got := !r.SW2.IsZero() && !r.TargetKL.IsZero(); got != want ||
			strings.Contains(text, "no comparison with weighted rows: by guidance = 2") == want {
			t.Errorf("guidance %g: compared %t, warnings %q, want %t", guidance, got, text, want)
		}
	}
}

// Data that the map was not trained on are refused.
func TestSteeringRefusesOtherData(t *testing.T) {
	s, data := steeringOfClasses(t, 400)
	for want, change := range map[string]func(rows *tabular.Table){
		`data of columns "size", "ratio" and classes "light", "heavy", a map of columns "mass", "ratio" and`: func(
			rows *tabular.Table,
		) {
			rows.Columns = []string{"size", "ratio"}
		},
		`data of columns "mass" and`: func(rows *tabular.Table) { rows.Columns = rows.Columns[:1] },
		`and classes none, a map`:    func(rows *tabular.Table) { rows.Names = nil },
		`and classes "heavy", "light", a map of columns "mass", "ratio" and classes "light", "heavy": give`: func(
			rows *tabular.Table,
		) {
			rows.Names = []string{"heavy", "light"}
		},
	} {
		rows := *data.Train
		change(&rows)
		_, err := NewSteering(s.Experiment, s.Model.Store, &Data{Train: &rows, HeldOut: data.HeldOut}, []byte(s.reward))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// Settings that points do not have are refused.
func TestSteeringRefuses(t *testing.T) {
	s := exactSteering(t, `{"kind": "linear", "weights": {"mass": 0.1}}`)
	class := 1
	for want, change := range map[string]func(c *steering.Setting){
		"points have no value in closed form": func(c *steering.Setting) { c.Method = "exact" },
		"the model has no classes":            func(c *steering.Setting) { c.Class = &class },
		`method "mfm-x" is unknown`:           func(c *steering.Setting) { c.Method = "mfm-x" },
		"must be at least 2 and a multiple":   func(c *steering.Setting) { c.Samples = 1 },
	} {
		c := setting("mfm-g", 64)
		change(&c)
		if err := s.Check(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
