package alignment

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// gaussianModel returns a map of latents [2, 3, 2] ~ N(0, I) with two classes, whose network is
// untrained, so that its parametrization alone is nearly exact, a random autoencoder with pictures
// [4, 6, 3], and a random evaluator.
func gaussianModel(t *testing.T) *Model {
	t.Helper()
	if testing.Short() {
		t.Skip("evaluates networks of convolutions, which is slow without XLA")
	}
	b := backendtest.New(t)
	network, evaluatorWeights := experimenttest.EfficientNet(t)
	of, err := picture.NewEvaluator(b, network, evaluatorWeights)
	if err != nil {
		t.Fatal(err)
	}
	a := nn.Autoencoder{AutoencoderConfig: nn.AutoencoderConfig{
		Images: 3, Latents: 2, Channels: []int{4, 8}, Blocks: 1, Groups: 2, Scale: 0.5,
	}}
	weights := experimenttest.RandomWeights(t, 2, func(scope *model.Scope, g *Graph) *Node {
		return a.Decode(scope, Zeros(g, shapes.Make(dtypes.Float32, 1, 2, 2, 2)))
	})
	store := model.NewStore()
	untrained := mfm.Model{
		Map: &mfm.Map{
			Interpolant: interpolant.Linear{}, Parametrization: &mfm.Gaussian{Variance: []float64{1}},
			Backbone: nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu", Classes: 2}.Backbone(),
		},
		Weights: store.Scope(train.WeightsScope), Shape: []int{2, 3, 2}, Classes: 2,
	}
	for path, w := range experimenttest.RandomWeights(t, 1, func(scope *model.Scope, g *Graph) *Node {
		x := Zeros(g, shapes.Make(dtypes.Float32, 1, 2, 3, 2))
		class := Zeros(g, shapes.Make(dtypes.Int32, 1))
		return untrained.Map.Drift(scope.Store().Scope(train.WeightsScope), Zeros(g, shapes.Make(dtypes.Float32, 1)), x, class)
	}) {
		if _, err := store.CreateVariable("/"+path, w); err != nil {
			t.Fatal(err)
		}
	}
	var c latent.Config
	c.Train.Loss.Guidance.Dropout = 0.1
	m, err := newModel(b, untrained, c, latent.Autoencoder{LatentCodec: a, Images: 3, Weights: weights},
		evaluator{of, "evaluator of the tests"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Finalize)
	return m
}

const steps = 6

// settings returns a setting of a method for 32 samples.
func settings(s *Steering, method string, n int, lambda float64) steering.Setting {
	c := steering.Setting{Fingerprint: s.Fingerprint, Method: method, N: n, Samples: 32, Config: steer.DefaultConfig()}
	c.Config.Steps, c.Config.Lambda = steps, lambda
	return c
}

// rowsOf returns the pixels of the two rows of pictures of a result.
func rowsOf(t *testing.T, raw []byte) (rows [2][]uint32) {
	t.Helper()
	p, err := png.Decode(bytes.NewReader(raw))
	if err != nil || p.Bounds().Dx() != 8*6 || p.Bounds().Dy() != 2*4 {
		t.Fatalf("pictures %v, want eight of 4x6 pixels in two rows (%v)", p.Bounds(), err)
	}
	for y := range 8 {
		for x := range 8 * 6 {
			r, g, b, _ := p.At(x, y).RGBA()
			rows[y/4] = append(rows[y/4], r>>8, g>>8, b>>8)
		}
	}
	return rows
}

// Results agree with the pictures, count evaluations as documented, and steering raises the reward.
// Without a reward steering changes nothing, so that pictures before and after are equal.
func TestSteering(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "brightness", "weight": 400}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	run := func(c steering.Setting) Result {
		t.Helper()
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Frechet.IsZero() || r.Kernel.IsZero() || r.MonitorsBase == nil || r.SpectralDistance.IsZero() ||
			r.HeldOutBase.IsZero() || r.TargetKL.IsZero() {
			t.Errorf("%s: result %+v lacks a comparison", c.Method, r)
		}
		if math.Abs(r.NFE-r.MapNFE-r.RewardNFE) > 1e-9 {
			t.Errorf("%s: %g evaluations, %g of the map and %g of the reward", c.Method, r.NFE, r.MapNFE, r.RewardNFE)
		}
		return r
	}
	plain := run(settings(s, "unsteered", 1, 1))
	if !plain.Monitors.Speed.IsZero() || !plain.MonitorsBase.Speed.IsZero() {
		t.Error("unsteered samples have a speed")
	}
	if plain.MapNFE != steps || plain.RewardNFE != 0 || math.Abs(plain.Monitors.Latents-1) > 0.3 { // few steps
		t.Errorf("unsteered: %+v", plain)
	}
	unsteered, se := plain.Reward.Float(), plain.RewardSE.Float()
	base, noise := plain.RewardBase.Float(), math.Hypot(se, plain.RewardBaseSE.Float())
	if !(math.Abs(unsteered-base) <= 5*noise) {
		t.Errorf("unsteered reward %g and that of others %g ± %g", unsteered, base, noise)
	}
	steered := run(settings(s, "mfm-g", 2, 1))
	if v := steered.Monitors.Speed.Float(); !(v > 1 && v < 100) {
		t.Errorf("a reward of weight 400 changes the speed by the factor %g", v)
	}
	if steered.MapNFE != steps+3*2*steps || steered.RewardNFE != 2*steps {
		t.Errorf("mfm-g: %g evaluations of the map, %g of the reward", steered.MapNFE, steered.RewardNFE)
	}
	if mean, of := steered.Reward.Float(), steered.RewardSE.Float(); !(mean > unsteered+5*math.Hypot(se, of)) {
		t.Errorf("mfm-g: reward %g ± %g, unsteered %g ± %g", mean, of, unsteered, se)
	}
	if rows := rowsOf(t, steered.Pictures); slices.Equal(rows[0], rows[1]) {
		t.Error("mfm-g does not change the pictures")
	}
	// The pictures are those of one batch, whether the run itself is one or not. There are as many as
	// a batch has.
	eight, batches := settings(s, "mfm-gf", 2, 1), *s
	eight.Samples = 8
	for batch, columns := range map[int]int{16: 8, 7: 3} {
		batches.Batch, batches.Kept = batch, new(steering.Kept)
		inBatches, err := batches.Run(t.Context(), b, settings(s, "mfm-gf", 2, 1))
		if err != nil || columns == 8 && !bytes.Equal(run(eight).Pictures, inBatches.Pictures) {
			t.Errorf("the pictures of a run of one batch are others than those of a run of several (%v)", err)
		}
		if p, err := png.DecodeConfig(bytes.NewReader(inBatches.Pictures)); err != nil || p.Width != columns*6 {
			t.Errorf("batches of %d rows: pictures of width %d, want %d of width 6 (%v)", batch, p.Width, columns, err)
		}
	}
	rows := rowsOf(t, run(settings(s, "mfm-gf", 2, 0)).Pictures)
	for i, v := range rows[0] {
		if d := int(v) - int(rows[1][i]); d < -1 || d > 1 {
			t.Errorf("mfm-gf without a reward changes the level %d to %d", v, rows[1][i])
			break
		}
	}
	pool := settings(s, "unsteered", 1, 1)
	pool.Pool = true
	if r, err := s.Run(t.Context(), b, pool); err != nil || len(r.PoolRewards) != 32 || !slices.IsSorted(r.PoolRewards) ||
		math.Abs(r.Reward.Float()-unsteered) > 1e-9 || !r.Pool || r.MonitorsBase != nil {
		t.Errorf("a pool: %+v (%v)", r, err)
	}
	latents, _, err := s.Draw(t.Context(), b, settings(s, "unsteered", 1, 1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := values(t, s, latents); math.Abs(mean(v)-unsteered) > 1e-3*math.Abs(unsteered) {
		t.Errorf("the mean reward is %g, of the samples %g", unsteered, mean(v))
	}
	filter := settings(s, "smc-dps", 1, 1)
	filter.Particles, filter.Config.Dynamics = 16, steer.SDE
	r := run(filter)
	if !(r.Reward.Float() > unsteered) {
		t.Errorf("a particle filter has the reward %g, unsteered samples %g", r.Reward.Float(), unsteered)
	}
	if !r.RewardSE.IsZero() || !r.HeldOutSE.IsZero() || !r.KernelSE.IsZero() || r.RewardBaseSE.IsZero() {
		t.Errorf("a particle filter, whose particles share ancestors, has standard errors: %+v", r)
	}
}

// Rewards that no picture has are undefined, not zero.
func TestLostRewards(t *testing.T) {
	const lost = 2 * reward.Least
	for _, c := range []struct {
		method         string
		values         []float64
		mean, se       float64 // NaN for undefined ones
		lost, warnings int
		shared         bool
	}{
		{"mfm-g", []float64{lost, lost}, math.NaN(), math.NaN(), 2, 1, false},
		{"mfm-g", []float64{lost, 3}, 3, math.NaN(), 1, 1, false},
		{"mfm-g", []float64{1, lost, 3}, 2, 1, 1, 1, false},
		{"mfm-g", []float64{1, 3}, 2, 1, 0, 0, false},
		{"mfm-g", []float64{1, 3}, 2, math.NaN(), 0, 0, true},
		{"smc-mfm-g", []float64{1, 3}, 2, math.NaN(), 0, 0, false},
	} {
		var r Result
		r.Method, r.Shared = c.method, c.shared
		r.setRewards(pictureValues{reward: c.values, heldOut: c.values})
		if mean, se := metric.Some(c.mean), metric.Some(c.se); r.Reward != mean || r.RewardSE != se || r.HeldOut != mean ||
			r.HeldOutSE != se || r.Lost != c.lost || len(r.Warnings) != c.warnings {
			t.Errorf("%s, rewards %g: result %+v", c.method, c.values, r)
		}
	}
}

// values returns the rewards of latents.
func values(t *testing.T, s *Steering, latents []float32) []float64 {
	t.Helper()
	pixels, err := s.model.decoder.decode(t.Context(), latents)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.pictures.values(t.Context(), pixels, slices.Repeat([]int32{2}, len(latents)/12))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// Unsteered samples are drawn as those of the method that they are compared with.
func TestUnsteeredSettings(t *testing.T) {
	var c steer.Config
	c.Dynamics, c.Solver, c.Noise, c.Cap, c.Start = steer.SDE, solver.Euler, 0.5, 20, 0.02
	c.Steps, c.Power, c.Lambda = 7, 2, 3
	along, steps, none := c, steer.DefaultConfig(), steer.DefaultConfig()
	steps.Grid, steps.Start = c.Grid, c.Start
	along.Lambda, along.Ratio, along.Renormalization = none.Lambda, none.Ratio, none.Renormalization
	for method, want := range map[string]steer.Config{
		steering.Unsteered: along, bestOfN: along, "mfm-g": along, "smc-mfm-g": along, "fmrg-e": steps,
		"best-of-n-one-step": none,
	} {
		if got := unsteered(steering.Setting{Method: method, Config: c}).Config; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: unsteered samples have the configuration %+v, want %+v", method, got, want)
		}
	}
}

// A black-box reward steers methods without a gradient alone.
func TestBlackBoxSteering(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "compressibility", "quality": 90, "target": 0, "width": 20}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	experimenttest.WantError(t, "mfm-g", s.Check(settings(s, "mfm-g", 2, 1)), "black-box reward")
	for _, method := range []string{"mfm-gf", bestOfN} {
		c := settings(s, method, 4, 1)
		c.Seed = 1 // without pictures
		if err := s.Check(c); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		if !(r.Reward.Float() > r.RewardBase.Float()) || r.RewardNFE == 0 {
			t.Errorf("%s: reward %g, unsteered %g, %g evaluations", method, r.Reward.Float(), r.RewardBase.Float(),
				r.RewardNFE)
		}
	}
}

// A run that cannot draw its pictures again keeps its result, with a warning.
func TestRunWithoutPictures(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "compressibility", "quality": 90}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	host := s.Host
	s.Host = func(latents []float32, shape []int) ([]float64, error) {
		if shape[0] == 2*8 {
			return nil, errors.New("no memory")
		}
		return host(latents, shape)
	}
	r, err := s.Run(t.Context(), b, settings(s, "mfm-gf", 2, 1))
	if warnings := strings.Join(r.Warnings, "; "); err != nil || r.Pictures != nil || r.Reward.IsZero() || r.Diversity.IsZero() ||
		!strings.Contains(warnings, "no pictures") || !strings.Contains(warnings, "no memory") {
		t.Errorf("result %+v (%v)", r, err)
	}
}

// Fingerprints depend on rewards and the content of their files, not on spaces and names.
func TestFingerprints(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a": "x", "b": "x", "c": "y", "f/d": "x", "two/a": "x", "two/b": "y", "one/a": "x\nb\ny",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(format, name string) string {
		t.Helper()
		text, err := canonical([]byte(strings.ReplaceAll(format, "FILE", filepath.Join(dir, name))))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const one, other = `{"kind": "sum", "of": [{"kind": "q", "weights": "FILE"}]}`, `{"of":[{"weights":"FILE","kind":"q"}],"kind":"sum"}`
	if a := hash(one, "a"); a != hash(other, "b") || a == hash(one, "c") || a == hash(one, "f") {
		t.Errorf("texts %q, %q, %q, %q", a, hash(other, "b"), hash(one, "c"), hash(one, "f"))
	}
	if err := os.Symlink(filepath.Join(dir, "f"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if hash(one, "link") != hash(one, "f") {
		t.Error("a link to a folder has another hash than the folder")
	}
	// The content of the file is that of two files with the name of the second between them.
	if hash(one, "one") == hash(one, "two") {
		t.Error("a folder of one file has the hash of one of two")
	}
	if _, err := canonical([]byte(`{"weights": "` + dir + `/none"}`)); err == nil {
		t.Error("a file that does not exist has a hash")
	}
	absolute := filepath.Join(dir, "b")
	in, err := RewardIn(dir, []byte(`{"of": [{"weights": "a", "n": 1}], "head": "`+absolute+`", "kind": "a"}`))
	want := `{"head":"` + absolute + `","kind":"a","of":[{"n":1,"weights":"` + filepath.Join(dir, "a") + `"}]}`
	if err != nil || string(in) != want {
		t.Errorf("with files in a folder: %s, want %s (%v)", in, want, err)
	}
}

// Fingerprints depend on all that results depend on, and not on checkpoints.
func TestModelFingerprints(t *testing.T) {
	m := gaussianModel(t)
	of, other := []byte(`{"kind": "symmetry"}`), []byte(`{"kind": "brightness", "weight": 1}`)
	same := func(*mfm.Model, *nn.Autoencoder) []evaluator { return nil }
	seen := make(map[string]string)
	for _, c := range []struct {
		name     string
		change   func(m *mfm.Model, a *nn.Autoencoder) (evaluated []evaluator)
		of, held []byte
	}{
		{"base", same, of, other},
		{"scale", func(_ *mfm.Model, a *nn.Autoencoder) []evaluator { a.Scale = 0.25; return nil }, of, other},
		{"shift", func(_ *mfm.Model, a *nn.Autoencoder) []evaluator { a.Shift = 1; return nil }, of, other},
		{"groups", func(_ *mfm.Model, a *nn.Autoencoder) []evaluator { a.Groups = 4; return nil }, of, other},
		{"statistics", func(m *mfm.Model, _ *nn.Autoencoder) []evaluator {
			of := *m.Map
			of.Parametrization = &mfm.Gaussian{Mean: []float64{1}, Variance: []float64{1}}
			m.Map = &of
			return nil
		}, of, other},
		{"evaluator", func(*mfm.Model, *nn.Autoencoder) []evaluator { return []evaluator{{hash: "a"}} }, of, other},
		{"second", func(*mfm.Model, *nn.Autoencoder) []evaluator { return []evaluator{{hash: "a"}, {hash: "b"}} }, of, other},
		{"reward", same, []byte(`{"kind": "symmetry", "weight": 2}`), other},
		{"held-out reward", same, of, []byte(`{"kind": "brightness", "weight": 2}`)},
	} {
		changed, network := m.Model, m.autoencoder.LatentCodec.(nn.Autoencoder)
		evaluated := c.change(&changed, &network)
		for _, network.Checkpoint = range []bool{false, true} {
			a := m.autoencoder
			a.LatentCodec = network
			of, err := newModel(backendtest.New(t), changed, m.Config, a, evaluated...)
			if err != nil {
				t.Fatal(err)
			}
			fingerprint, err := of.fingerprint(c.of, c.held)
			if err != nil {
				t.Fatal(err)
			}
			if same, found := seen[fingerprint]; found != network.Checkpoint || found && same != c.name {
				t.Errorf("%s, checkpoints %t: the fingerprint is that of %q", c.name, network.Checkpoint, same)
			}
			seen[fingerprint] = c.name
		}
	}
}

func TestSteeringRefuses(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	for text, want := range map[string]string{
		`{"kind": "nice"}`: "unknown",
		`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [1], "sigma": 1}`: "does not fit pictures of shape [4 6 3]",
		`[`: "no JSON object",
	} {
		_, err := m.To(b, []byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	const dark, hidden = `{"kind": "brightness", "weight": -1}`, `{"kind": "sum", "of": [{"kind": "symmetry"}, {"kind": "scaled",
		"factor": 3, "of": {"kind": "scaled", "factor": 2, "of": {"kind": "brightness", "weight": 2}}}]}`
	for of, heldOut := range map[string]string{
		`{"kind": "symmetry"}`: `{"kind":"symmetry"}`, hidden: dark, dark: hidden,
		`{"kind": "color", "hue": 7, "weight": 1}`: `{"kind": "scaled", "factor": 2, "of": {"weight": 3, "hue": 7, "kind": "color"}}`,
	} {
		_, err := m.To(b, []byte(of), []byte(heldOut))
		experimenttest.WantError(t, "the reward itself", err, "it is the reward itself")
	}
	for of, heldOut := range map[string]string{
		hidden: `{"kind": "color", "hue": 7, "weight": 1}`, dark: `{"kind": "brightness", "target": 0.5, "width": 1}`,
		`{"kind": "color", "hue": 7, "weight": 1}`: `{"kind": "color", "hue": 8, "weight": 1}`,
	} {
		if _, err := m.To(b, []byte(of), []byte(heldOut)); err != nil {
			t.Errorf("%s and %s: %v", of, heldOut, err)
		}
	}
	s, err := m.To(b, []byte(`{"kind": "symmetry"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := settings(s, "exact", 1, 1)
	experimenttest.WantError(t, "exact", s.Check(c), "no value in closed form")
	c = settings(s, "mfm-g", 1, 1)
	class := 2
	c.Class = &class
	experimenttest.WantError(t, "a class too many", s.Check(c), "must lie in [0, 2)")
	if _, err := ParseReward(b, DefaultReward()); err != nil {
		t.Error(err)
	}
	for _, of := range []string{string(DefaultReward()), `{"kind": "symmetry"}`, hidden} {
		if _, err := m.To(b, []byte(of), nil); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}
}

// The grids in figures are valid: their rewards are of known kinds, their runs can be run.
func TestGrids(t *testing.T) {
	for name, want := range map[string]int{
		"imagenet_paper": 3 * (2 + 36 + 3 + 7 + 2), "imagenet_generalization": 3 * (2 + 36 + 3 + 7 + 2), "imagenet_small": 303,
		"imagenet_second": 2 * 3,
	} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "figures", "grids", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		grid, err := steering.ParseGrid(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range grid.Rewards {
			raws := []json.RawMessage{r.Reward}
			if r.HeldOut != nil {
				raws = append(raws, r.HeldOut)
				if common, err := overlap(string(r.Reward), string(r.HeldOut)); common != "" || err != nil {
					t.Errorf("%s: reward %s and its held-out reward have %s in common (%v)", name, r.Name, common, err)
				}
			}
			for _, raw := range raws {
				var of struct{ Kind, Prompt string }
				err := json.Unmarshal(raw, &of)
				const want = "A high-resolution, high-quality photograph of a tabby cat."
				if name == "imagenet_paper" && of.Prompt != want {
					t.Errorf("%s: prompt %q, want that of the authors, %q", name, of.Prompt, want)
				}
				if _, known := Kinds(nil)[of.Kind]; err != nil || !known && !IsHost(raw) {
					t.Errorf("%s: reward %s is of an unknown kind (%v)", name, r.Name, err)
				}
			}
		}
		all, err := grid.Expand(steering.Setting{Config: steer.DefaultConfig()}, 64)
		if err != nil || len(all) != want {
			t.Errorf("%s: %d runs, want %d (%v)", name, len(all), want, err)
		}
		for _, run := range all {
			c, host := run.Setting, IsHost(grid.Rewards[run.Reward].Reward)
			entry, err := steer.Lookup(c.Method)
			if err := cmp.Or(err, c.Check(nil)); err != nil || host && !blackBox(entry) {
				t.Errorf("%s: %s, black-box reward: %t (%v)", name, c.Method, host, err)
			}
			small := name == "imagenet_small" || name == "imagenet_second"
			if !small && (c.Config.Steps != 250 || c.Class == nil || *c.Class != 281 || c.Guidance != 2.5 ||
				c.Samples != 128 && !c.Pool) {
				t.Errorf("%s: setting %+v", name, c)
			}
		}
	}
}

// A vocabulary of CLIP that is named, instead of the default, makes no other reward; one of BERT,
// which has no default, does.
func TestOverlapOfVocabularies(t *testing.T) {
	for kind, common := range map[string]bool{"pickscore": true, "image_reward": false} {
		term := func(more string) string {
			return fmt.Sprintf(`{"kind": %q, "prompt": "a", "weights": "W"%s}`, kind, more)
		}
		got, err := overlap(term(""), term(`, "vocabulary": "V"`))
		if err != nil || (got != "") != common {
			t.Errorf("%s: the rewards have %q in common (%v)", kind, got, err)
		}
	}
}
