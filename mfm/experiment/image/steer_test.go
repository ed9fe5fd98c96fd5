package image_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// digitsRuns trains a map of the given parametrization and two classifiers on blots for a few
// steps, and returns their folders. change changes the configuration of the map.
func digitsRuns(t *testing.T, parametrization mfm.ParametrizationName,
	change ...func(c *image.Config)) image.SteeringConfig {
	t.Helper()
	b, dir := backendtest.New(t), t.TempDir()
	c := image.SteeringConfig{
		Map: filepath.Join(dir, "map"), Evaluator: filepath.Join(dir, "first"), Second: filepath.Join(dir, "second"),
	}
	config := mixtureConfig()
	config.Parametrization = parametrization
	for _, f := range change {
		f(&config)
	}
	name, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	once(t, string(name), c.Map, func() {
		e, err := image.New(t.Context(), config, blots(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Train(t.Context(), b, run.Options{Dir: c.Map}); err != nil {
			t.Fatal(err)
		}
	})
	for i, folder := range []string{c.Evaluator, c.Second} {
		config := image.DefaultClassifierConfig(false)
		config.Network.Classes, config.Network.Patch, config.Network.Channels = 2, 1, []int{4}
		config.Network.Groups, config.Network.Embedding = 2, 4
		config.Shift, config.Train.Steps, config.Train.Batch, config.Train.Seed = 0, 60, 16, int64(i)
		config.Train.Optimizer.Rate = 0.02
		once(t, filepath.Base(folder), folder, func() {
			if _, err := image.TrainClassifier(t.Context(), b, config, blots(1), run.Options{Dir: folder}); err != nil {
				t.Fatal(err)
			}
		})
	}
	c.Reward = image.ClassReward(c.Evaluator, 1)
	return c
}

// trained has the files of the trainings that several tests start from.
var trained = make(map[string]fstest.MapFS)

// once fills a folder by a training, and by copies of its files where the name occurs again.
func once(t *testing.T, name, dir string, train func()) {
	t.Helper()
	if files, found := trained[name]; found {
		if err := os.CopyFS(dir, files); err != nil {
			t.Fatal(err)
		}
		return
	}
	train()
	files := make(fstest.MapFS)
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = &fstest.MapFile{Data: raw, Mode: 0o644}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	trained[name] = files
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A result agrees with the classifiers on the run's images, and steering to the log-probability of
// a class raises it.
func TestDigitsSteering(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a map and two classifiers")
	}
	b := backendtest.New(t)
	c := digitsRuns(t, "gaussian")
	s, err := image.NewSteering(b, c, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	s.Kept = new(steering.Kept)
	defer s.Kept.Finalize()
	setting := func(method string, n int) steering.Setting {
		config := steer.DefaultConfig()
		config.Steps = 8
		return steering.Setting{Fingerprint: s.Fingerprint, Method: method, N: n, Samples: 64, Config: config}
	}
	oneStep := setting("best-of-n-one-step", 8)
	oneStep.Config.Steps = 1 // unlike that of the samples to compare with
	if r, err := s.Run(t.Context(), b, oneStep); err != nil || r.NFE != 16 || r.BaseDistance.IsZero() {
		t.Errorf("Best-of-8 in one step: %+v (%v)", r, err)
	}
	// A temperature of 1 is none, and a larger one makes the reward flatter.
	gradients := func(temperature float64) []image.GradientResult {
		r, err := s.TemperedGradients(t.Context(), b, image.TemperatureSetting{Temperature: temperature,
			GradientConfig: image.GradientConfig{Times: []float64{0.5}, Ns: []int{8}, States: 2, Samples: 512}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Estimates
	}
	plain, err := s.Gradients(t.Context(), b, image.GradientConfig{Times: []float64{0.5}, Ns: []int{8}, States: 2, Samples: 512})
	if one, ten := gradients(1), gradients(10); err != nil || !slices.Equal(one, plain) || !(ten[0].Shares.Weights > one[0].Shares.Weights) {
		t.Errorf("gradients %+v at temperature 1, %+v without one (%v), %+v at 10", one, plain, err, ten)
	}
	// Unsteered samples are drawn once for all rewards, and a pool keeps their rewards.
	pool := setting("unsteered", 1)
	pool.Pool = true
	var pools [2]image.SteeringResult
	for i, class := range []int{1, 0} {
		of, err := s.WithReward(b, image.ClassReward(c.Evaluator, class))
		if err != nil {
			t.Fatal(err)
		}
		of.RewardName, of.Kept = []string{"one", "zero"}[i], new(steering.Kept)
		defer of.Kept.Finalize()
		if pools[i], err = of.Run(t.Context(), b, pool); err != nil {
			t.Fatal(err)
		}
		drawn, _, err := of.Draw(t.Context(), b, pool)
		if err != nil {
			t.Fatal(err)
		}
		rewards, err := steering.Rewards(b, of.Model.Store, of.Reward, drawn, []int{4, 4, 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := pools[i].PoolRewards; !slices.Equal(got, steering.PoolOf(rewards)) || pools[i].NFE != 8 ||
			pools[i].RewardName != of.RewardName || pools[i].Test != image.SteeringTest || !pools[i].BaseDistance.IsZero() {
			t.Errorf("pool %+v, want the rewards %v", pools[i], rewards)
		}
	}
	if pools[0].Reused || !pools[1].Reused || pools[0].Seconds != pools[1].Seconds || slices.Equal(pools[0].PoolRewards, pools[1].PoolRewards) {
		t.Error("unsteered samples are drawn again for another reward, or have its rewards")
	}
	// The target is the training images weighted by the first evaluator's probability of the class.
	var classifiers [2]*image.Classifier
	var ofImages, featuresOf [2][][]float64
	for i, folder := range []string{c.Evaluator, c.Second} {
		if classifiers[i], err = image.OpenClassifier(b, folder, []int{4, 4, 1}); err != nil {
			t.Fatal(err)
		}
		if ofImages[i], featuresOf[i], err = classifiers[i].Evaluate(blots(1).Float32(), 1); err != nil {
			t.Fatal(err)
		}
	}
	results := map[string]image.SteeringResult{}
	for _, m := range []steering.Setting{setting("unsteered", 1), setting("best-of-n", 8), setting("mfm-gf", 8)} {
		if err := s.Check(m); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, m)
		if err != nil {
			t.Fatal(err)
		}
		results[m.Method] = r
		samples, result, err := s.Draw(t.Context(), b, m)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(r.Images))
		if err != nil || picture.Bounds().Dx() != 20*4 || picture.Bounds().Dy() != 4 {
			t.Fatalf("%s: pictures %v, %v", m.Method, picture.Bounds(), err)
		}
		want := 127.5 * (1 + float64(min(max(samples[9], -1), 1)))
		if gray, _, _, _ := picture.At(1, 2).RGBA(); math.Abs(float64(gray>>8)-want) > 0.51 {
			t.Errorf("%s: a pixel of %g has the gray %d", m.Method, samples[9], gray>>8)
		}
		mean := 0.0
		for _, r := range result.Rewards {
			mean += r / 64
		}
		sorted := slices.Sorted(slices.Values(result.Rewards))
		for i, at := range []int{3, 16, 32, 48, 60} { // ranks of 64 rewards
			if q := r.RewardQuantiles[i]; q < sorted[at-1]-1e-4 || q > sorted[at+1]+1e-4 {
				t.Errorf("%s: quantile %d is %g, want about %g", m.Method, i, q, sorted[at])
			}
		}
		if kl, n := r.TargetKL.Float(), r.TargetEffective.Float(); !(kl > 0 && kl < math.Log(60)) || !(n > 1 && n < 60) {
			t.Errorf("%s: the target has the KL %g by %g of 60 images", m.Method, kl, n)
		}
		if math.Abs(r.Reward-mean) > 1e-4 || r.NFE <= 0 || r.Seconds <= 0 {
			t.Errorf("%s: reward %g, that of its samples %g; result %+v", m.Method, r.Reward, mean, r)
		}
		if d := math.Hypot(r.Classes[0]-r.Target[0], r.Classes[1]-r.Target[1]); !(math.Abs(d-r.L2.Float()) < 1e-9) {
			t.Errorf("%s: L2 %g, that of the histograms %g", m.Method, r.L2.Float(), d)
		}
		for i, classifier := range classifiers {
			probabilities, features, err := classifier.Evaluate(samples, 1)
			if err != nil {
				t.Fatal(err)
			}
			target, shares, total, confident := [2]float64{}, [2]float64{}, 0.0, 0.0
			w := make([]float64, len(ofImages[i]))
			for j, p := range ofImages[i] {
				w[j] = ofImages[0][j][1]
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
			if got := []float64{r.L2.Float(), r.L2Second.Float()}[i]; !(math.Abs(got-l2) < 1e-5) {
				t.Errorf("%s: L2 by evaluator %d is %g, want %g", m.Method, i, got, l2)
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
			reference, err := metric.NewMoments(featuresOf[i], w)
			if err != nil {
				t.Fatal(err)
			}
			distance, err := metric.Frechet(a, reference)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(r.Confident-confident) > 1e-9 || !(math.Abs(r.Distance.Float()-distance) < 1e-3*(1+distance)) ||
				!(r.DistFloor.Float() > 0) {
				t.Errorf("%s: confident %g, want %g; distance %g, want %g; floor %g",
					m.Method, r.Confident, confident, r.Distance.Float(), distance, r.DistFloor.Float())
			}
		}
		if want := math.Sqrt(2 * r.Target[0] * r.Target[1] / 64); !(math.Abs(r.L2Floor.Float()-want) < 1e-9) {
			t.Errorf("%s: floor %g, want %g", m.Method, r.L2Floor.Float(), want)
		}
	}
	for _, method := range []string{"best-of-n", "mfm-gf"} {
		if results[method].Reward < results["unsteered"].Reward+0.05 {
			t.Errorf("%s: reward %g, unsteered %g", method, results[method].Reward, results["unsteered"].Reward)
		}
	}
	if err := s.Check(setting("exact", 1)); err == nil || !strings.Contains(err.Error(), "closed form") {
		t.Errorf("the exact value of images: %v", err)
	}
	// The fingerprint depends on the classifiers, not on their folders.
	moved := c
	moved.Evaluator = filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved.Evaluator, os.DirFS(c.Evaluator)); err != nil {
		t.Fatal(err)
	}
	moved.Reward = image.ClassReward(moved.Evaluator, 1)
	swapped, rewarded := c, c
	swapped.Second = c.Evaluator
	rewarded.Reward = image.ClassReward(c.Second, 1)
	for config, same := range map[*image.SteeringConfig]bool{&moved: true, &swapped: false, &rewarded: false} {
		other, err := image.NewSteering(b, *config, blots(1))
		if err != nil {
			t.Fatal(err)
		}
		if (other.Fingerprint == s.Fingerprint) != same {
			t.Errorf("%+v has the same fingerprint: %v, want %v", config, !same, same)
		}
	}
	withoutHash(t, c.Map)
	if other, err := image.NewSteering(b, c, blots(2)); err != nil || other.Fingerprint == s.Fingerprint {
		t.Errorf("other images have the same fingerprint (%v)", err)
	}
	// A target that too few images represent leaves what compares with it undefined, and nothing
	// else.
	far := setting("mfm-gf", 2)
	far.Config.Lambda = 1e4
	if err := s.Check(far); err != nil {
		t.Fatalf("a reward that few images have: %v", err)
	}
	r, err := s.Run(t.Context(), b, far)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]metric.Optional{
		"L2": r.L2, "floor": r.L2Floor, "second L2": r.L2Second, "distance": r.Distance, "its floor": r.DistFloor,
		"the target's reward": r.RewardTarget, "diversity": r.Diversity,
	} {
		if !v.IsZero() {
			t.Errorf("%s is %g, want none", name, v.Float())
		}
	}
	if r.Target != nil || len(r.Classes) != 2 || !(r.BaseDistance.Float() > 0) || !(r.TargetEffective.Float() < 10) ||
		!slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "smaller lambda") }) ||
		!math.IsNaN(r.L2SE()) {
		t.Errorf("%+v: want what needs no target, and a warning", r)
	}
	far.Method, far.N, far.Pool = "unsteered", 1, true
	if r, err := s.Run(t.Context(), b, far); err != nil || len(r.PoolRewards) == 0 {
		t.Errorf("pool of a reward that few images have: %+v (%v)", r, err)
	}
	// A reward of a held-out image depends on it, other rewards do not depend on held-out images.
	seen := make(map[string]bool)
	for _, heldOut := range []uint64{3, 4} {
		held := c
		held.HeldOut = blots(heldOut)
		if other, err := image.NewSteering(b, held, blots(1)); err != nil || other.Fingerprint != s.Fingerprint {
			t.Errorf("held-out images change a reward without them (%v)", err)
		}
		held.Reward = []byte(`{"kind": "block_average", "rows": 2, "columns": 2, "image": 5, "sigma": 0.2}`)
		of, err := image.NewSteering(b, held, blots(1))
		if err != nil {
			t.Fatal(err)
		}
		seen[of.Fingerprint] = true
		if heldOut == 4 {
			continue
		}
		if r, err := of.Run(t.Context(), b, setting("dps", 1)); err != nil || !(r.Reward < 0) || !(r.GaussianKL.Float() > 0) {
			t.Errorf("steering to a measurement: reward %g, %g nats (%v)", r.Reward, r.GaussianKL.Float(), err)
		}
	}
	if len(seen) != 2 || seen[s.Fingerprint] {
		t.Errorf("%d fingerprints of measurements of two images, want 2", len(seen))
	}
	c.Reward = image.ClassReward(c.Evaluator, 0)
	other, err := image.NewSteering(b, c, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	if other.Fingerprint == s.Fingerprint {
		t.Error("another reward has the same fingerprint")
	}
	like, err := s.WithReward(b, c.Reward)
	if err != nil || like.Fingerprint != other.Fingerprint {
		t.Fatalf("a steering with the evaluators of another one has another fingerprint than its own (%v)", err)
	}
	one, err := other.Run(t.Context(), b, setting("dps", 1))
	if err != nil {
		t.Fatal(err)
	}
	two, err := like.Run(t.Context(), b, setting("dps", 1))
	if err != nil || two.Reward != one.Reward || two.L2 != one.L2 || two.Distance != one.Distance ||
		two.BaseDistance != one.BaseDistance {
		t.Errorf("with the evaluators of another steering: %+v, alone %+v (%v)", two, one, err)
	}
	for want, spoil := range map[string]func(c *image.SteeringConfig){
		"no such file": func(c *image.SteeringConfig) { c.Second = "nowhere" },
		"reward":       func(c *image.SteeringConfig) { c.Reward = []byte(`{"kind": "luck"}`) },
		"classifier":   func(c *image.SteeringConfig) { c.Evaluator = c.Map },
	} {
		broken := c
		spoil(&broken)
		if _, err := image.NewSteering(b, broken, blots(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// L2SE agrees with the standard deviation of L2 over independent histograms.
func TestL2SE(t *testing.T) {
	const n, repeats = 1000, 4000
	shares, target := []float64{0.5, 0.3, 0.2}, []float64{0.2, 0.3, 0.5}
	resultOf := func(p []float64) image.SteeringResult {
		r := image.SteeringResult{Classes: p, Target: target, L2: metric.Some(floats.Distance(p, target, 2))}
		r.Method, r.Samples = "mfm-g", n
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
		l2[i] = resultOf(counts).L2.Float()
	}
	if want, got := stat.StdDev(l2, nil), resultOf(shares).L2SE(); math.Abs(got/want-1) > 0.05 {
		t.Errorf("standard error %.5f, want the standard deviation of %d histograms, %.5f", got, repeats, want)
	}
	if r := (image.SteeringResult{Result: steering.Result{Method: "smc-dps"}}); !math.IsNaN(r.L2SE()) {
		t.Error("the standard error of a particle filter is not NaN")
	}
	shared := resultOf(shares)
	if shared.Shared = true; !math.IsNaN(shared.L2SE()) {
		t.Error("the standard error of samples that share their noise is not NaN")
	}
	tuned := image.SteeringResult{Result: steering.Result{Method: "mfm-ft-gf"}, Classes: shares, Target: target,
		L2: metric.Some(0.4)}
	if tuned.Samples = n; !(tuned.L2SE() > 0) {
		t.Errorf("the standard error of a tuned drift is %g", tuned.L2SE())
	}
}
