package experiment_test

import (
	"bytes"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// digitsRuns trains what steering of images needs, a map of the given parametrization and two classifiers of blots, for a few steps, and returns the folders.
func digitsRuns(t *testing.T, parametrization string) experiment.DigitsSteeringConfig {
	t.Helper()
	b, dir := backendtest.New(t), t.TempDir()
	c := experiment.DigitsSteeringConfig{Map: filepath.Join(dir, "map"), Judge: filepath.Join(dir, "judge"), Second: filepath.Join(dir, "second")}
	config := mixtureConfig()
	config.Parametrization = parametrization
	e, err := experiment.NewDigits(config, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: c.Map}); err != nil {
		t.Fatal(err)
	}
	for i, folder := range []string{c.Judge, c.Second} {
		config := experiment.DefaultClassifierConfig(false)
		config.Network.Classes, config.Network.Patch, config.Network.Channels, config.Network.Groups, config.Network.Embedding = 2, 1, []int{4}, 2, 4
		config.Shift, config.Train.Steps, config.Train.Batch, config.Train.Seed = 0, 60, 16, int64(i)
		config.Train.Optimizer.Rate = 0.02
		if _, err := experiment.TrainClassifier(t.Context(), b, config, blots(1), experiment.RunOptions{Dir: folder}); err != nil {
			t.Fatal(err)
		}
	}
	c.Reward = experiment.ClassReward(c.Judge, 1)
	return c
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A run tells of its own images what the classifiers say of them; steered by a class's log-probability it draws more of that class than the model alone.
func TestDigitsSteering(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a map and two classifiers")
	}
	b := backendtest.New(t)
	c := digitsRuns(t, "gaussian")
	s, err := experiment.NewDigitsSteering(b, c, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	cell := func(method string, n int) experiment.SteerCell {
		config := steer.DefaultConfig()
		config.Steps = 8
		return experiment.SteerCell{Problem: s.Problem, Method: method, N: n, Samples: 64, Config: config}
	}
	rows := map[string]experiment.DigitsSteeringRow{}
	for _, m := range []experiment.SteerCell{cell("unsteered", 1), cell("best-of-n", 8), cell("mfm-gf", 8)} {
		if err := s.Check(m); err != nil {
			t.Fatal(err)
		}
		row, err := s.Run(t.Context(), b, m)
		if err != nil {
			t.Fatal(err)
		}
		rows[m.Method] = row
		samples, result, err := s.Draw(t.Context(), b, m)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(row.Images))
		if err != nil || picture.Bounds().Dx() != 20*4 || picture.Bounds().Dy() != 4 {
			t.Fatalf("%s: pictures %v, %v", m.Method, picture.Bounds(), err)
		}
		if grey, _, _, _ := picture.At(1, 2).RGBA(); math.Abs(float64(grey>>8)-127.5*(1+float64(min(max(samples[9], -1), 1)))) > 0.51 {
			t.Errorf("%s: a pixel of %g is shown as %d", m.Method, samples[9], grey>>8)
		}
		mean := 0.0
		for _, r := range result.Rewards {
			mean += r / 64
		}
		if math.Abs(row.Reward-mean) > 1e-4 || row.NFE <= 0 || row.Seconds <= 0 {
			t.Errorf("%s: reward %g, its samples' %g; row %+v", m.Method, row.Reward, mean, row)
		}
		if d := math.Hypot(row.Classes[0]-row.Target[0], row.Classes[1]-row.Target[1]); math.Abs(d-row.L2) > 1e-9 {
			t.Errorf("%s: L2 %g, the histograms' %g", m.Method, row.L2, d)
		}
		for i, folder := range []string{c.Judge, c.Second} {
			judge, err := experiment.OpenClassifier(b, folder, []int{4, 4, 1})
			if err != nil {
				t.Fatal(err)
			}
			probabilities, features, err := judge.Evaluate(samples, 1)
			if err != nil {
				t.Fatal(err)
			}
			// The target is the training images', each as often as its reward, the first judge's probability of the class, says.
			images := blots(1).Float32()
			of, featuresOf, err := judge.Evaluate(images, 1)
			if err != nil {
				t.Fatal(err)
			}
			first, err := experiment.OpenClassifier(b, c.Judge, []int{4, 4, 1})
			if err != nil {
				t.Fatal(err)
			}
			weights, err := first.Probabilities(images, 1)
			if err != nil {
				t.Fatal(err)
			}
			target, shares, total, confident := [2]float64{}, [2]float64{}, 0.0, 0.0
			w := make([]float64, len(of))
			for j, p := range of {
				w[j] = weights[j][1]
				total += w[j]
				target[b2i(p[1] > p[0])] += w[j]
			}
			for _, p := range probabilities {
				shares[b2i(p[1] > p[0])] += 1. / 64
				if max(p[0], p[1]) > 0.9 {
					confident += 1. / 64
				}
			}
			l2 := math.Hypot(shares[0]-target[0]/total, shares[1]-target[1]/total)
			if got := []float64{row.L2, row.L2Second}[i]; math.Abs(got-l2) > 1e-5 {
				t.Errorf("%s: L2 by judge %d is %g, want %g", m.Method, i, got, l2)
			}
			if i == 0 {
				continue
			}
			a, err := metric.NewMoments(features, nil)
			if err != nil {
				t.Fatal(err)
			}
			for j := range w {
				w[j] /= total
			}
			reference, err := metric.NewMoments(featuresOf, w)
			if err != nil {
				t.Fatal(err)
			}
			distance, err := metric.Frechet(a, reference)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(row.Confident-confident) > 1e-9 || math.Abs(row.Distance-distance) > 1e-3*(1+distance) || row.DistFloor <= 0 {
				t.Errorf("%s: confident %g, want %g; distance %g, want %g; floor %g", m.Method, row.Confident, confident, row.Distance, distance, row.DistFloor)
			}
		}
		if want := math.Sqrt(2 * row.Target[0] * row.Target[1] / 64); math.Abs(row.L2Floor-want) > 1e-9 {
			t.Errorf("%s: floor %g, want %g", m.Method, row.L2Floor, want)
		}
	}
	for _, method := range []string{"best-of-n", "mfm-gf"} {
		if rows[method].Reward < rows["unsteered"].Reward+0.05 {
			t.Errorf("%s: reward %g, unsteered %g", method, rows[method].Reward, rows["unsteered"].Reward)
		}
	}
	if err := s.Check(cell("exact", 1)); err == nil || !strings.Contains(err.Error(), "closed form") {
		t.Errorf("the exact value of images: %v", err)
	}
	// Where classifiers lie says nothing, which they are does.
	moved := c
	moved.Judge = filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved.Judge, os.DirFS(c.Judge)); err != nil {
		t.Fatal(err)
	}
	moved.Reward = experiment.ClassReward(moved.Judge, 1)
	swapped := c
	swapped.Second = c.Judge
	for config, same := range map[*experiment.DigitsSteeringConfig]bool{&moved: true, &swapped: false} {
		other, err := experiment.NewDigitsSteering(b, *config, blots(1))
		if err != nil {
			t.Fatal(err)
		}
		if (other.Problem == s.Problem) != same {
			t.Errorf("%+v is the same problem: %v, want %v", config, !same, same)
		}
	}
	if other, err := experiment.NewDigitsSteering(b, c, blots(2)); err != nil || other.Problem == s.Problem {
		t.Errorf("other images are the same problem (%v)", err)
	}
	far := cell("mfm-gf", 2)
	far.Config.Lambda = 1e4
	if err := s.Check(far); err == nil || !strings.Contains(err.Error(), "smaller λ") {
		t.Errorf("a reward that few images have: %v", err)
	}
	c.Reward = experiment.ClassReward(c.Judge, 0)
	other, err := experiment.NewDigitsSteering(b, c, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	if other.Problem == s.Problem {
		t.Error("another reward is the same problem")
	}
	for want, spoil := range map[string]func(c *experiment.DigitsSteeringConfig){
		"no such file": func(c *experiment.DigitsSteeringConfig) { c.Second = "nowhere" },
		"reward":       func(c *experiment.DigitsSteeringConfig) { c.Reward = []byte(`{"kind": "luck"}`) },
		"classifier":   func(c *experiment.DigitsSteeringConfig) { c.Judge = c.Map },
	} {
		broken := c
		spoil(&broken)
		if _, err := experiment.NewDigitsSteering(b, broken, blots(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// The standard error of L2 is what histograms of independent samples scatter by.
func TestL2SE(t *testing.T) {
	const n, repeats = 1000, 4000
	shares, target := []float64{0.5, 0.3, 0.2}, []float64{0.2, 0.3, 0.5}
	row := func(p []float64) experiment.DigitsSteeringRow {
		r := experiment.DigitsSteeringRow{Method: "mfm-g", Classes: p, Target: target, L2: floats.Distance(p, target, 2)}
		r.Samples = n
		return r
	}
	rng := rand.New(rand.NewPCG(1, 2))
	l2 := make([]float64, repeats)
	for i := range l2 {
		counts := make([]float64, 3)
		for range n {
			u, k := rng.Float64(), 0
			for ; k < 2 && u >= shares[k]; k++ {
				u -= shares[k]
			}
			counts[k] += 1.0 / n
		}
		l2[i] = row(counts).L2
	}
	if want, got := stat.StdDev(l2, nil), row(shares).L2SE(); math.Abs(got/want-1) > 0.05 {
		t.Errorf("standard error %.5f, that of %d histograms is %.5f", got, repeats, want)
	}
	if r := (experiment.DigitsSteeringRow{Method: "smc-dps"}); !math.IsNaN(r.L2SE()) {
		t.Error("a filter's particles have one")
	}
}
