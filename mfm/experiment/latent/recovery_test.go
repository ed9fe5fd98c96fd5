package latent

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// For latents that are samples of N(0, I) with the exact map, recovered latents are √2 times the
// standard deviation of the posterior from their originals, also in one step, and those of the ODE
// from the same noise.
func TestRecoverGaussian(t *testing.T) {
	store := model.NewStore()
	g := &Generator{
		Model: mfm.Model{
			Map: &mfm.Map{
				Interpolant: interpolant.Linear{}, Parametrization: &mfm.Gaussian{Variance: []float64{1}},
				Backbone: func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) },
			},
			Weights: store.Scope(train.WeightsScope), Shape: []int{2, 2, 1},
		},
		backend: backendtest.New(t), models: &[]map[string]*mfm.Sampler{{}},
	}
	rng, z := rand.New(rand.NewPCG(1, 0)), make([]float32, 4*4000)
	for i := range z {
		z[i] = float32(rng.NormFloat64())
	}
	for _, at := range []float64{0, 0.2, 0.5} {
		c := RecoverySetting{T: at, Steps: []int{1, 4}, ODE: 20}
		recovered, all, err := g.recover(t.Context(), z, nil, c)
		if err != nil || len(all) != 3 || recovered[2].Method != mfm.ODESampling || recovered[2].NFE != 39 || recovered[1].NFE != 4 {
			t.Fatalf("%+v (%v)", recovered, err)
		}
		want := math.Sqrt2 * (1 - at) / math.Hypot(1-at, at)
		for i, latents := range all {
			if got := rms(latents, z); math.Abs(got/want-1) > 0.02 { // of 16,000 differences, to 0.6 %
				t.Errorf("t = %g, %s in %d steps: distance %g from the originals, want %g", at, recovered[i].Method, recovered[i].Steps, got, want)
			}
			if got := rms(latents, all[2]); got > 0.01 {
				t.Errorf("t = %g, %s in %d steps: distance %g from the ODE", at, recovered[i].Method, recovered[i].Steps, got)
			}
		}
	}
	for want, c := range map[string]RecoverySetting{
		"t = 1: must": {T: 1, Steps: []int{1}, ODE: 1}, "steps: none": {ODE: 1}, "0 steps": {Steps: []int{1}}, "5000 steps": {Steps: []int{5000}, ODE: 1},
	} {
		experimenttest.WantError(t, want, c.Validate(), want)
	}
	for _, c := range RecoveryGrid() {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// Emoji that the shipped map recovers from little noise are near the emoji, those from noise are
// not.
func TestRecovery(t *testing.T) {
	if testing.Short() {
		t.Skip("evaluates networks of convolutions, which is slow without XLA")
	}
	b := backendtest.New(t)
	network, weights := experimenttest.EfficientNet(t)
	e, err := picture.NewEvaluator(b, network, weights)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Finalize()
	train, _, err := data.Emoji()
	if err == nil {
		train, err = train.Slice(0, 8)
	}
	if err != nil {
		t.Fatal(err)
	}
	const dir = "../../../data/weights/emoji"
	r, err := NewRecovery(t.Context(), b, dir, e, "hash", train, train)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Finalize()
	// The floor is the reconstruction of the autoencoder.
	pixels, err := r.Codec.Reconstruct(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	floor := rms(pixels, train.Float32())
	var all []Recovered // in one step
	for _, at := range []float64{0, 0.9} {
		got, err := r.Run(t.Context(), RecoverySetting{T: at, Steps: []int{1}, ODE: 4})
		if err != nil || got.T != at || got.Pictures != 8 || got.HeldOut.Frechet > 1e-3 || len(got.Recovered) != 2 {
			t.Fatalf("result %+v (%v)", got, err)
		}
		if got.Floor.Latents != 0 || math.Abs(got.Floor.Pixels/floor-1) > 1e-3 || !(*got.Floor.Features > 0) {
			t.Errorf("floor %+v, want %g in pixels", got.Floor, floor)
		}
		one, ode := got.Recovered[0], got.Recovered[1]
		if one.Method != mfm.MapSampling || one.NFE != 1 || ode.Method != mfm.ODESampling || ode.NFE != 7 || ode.Reference != nil ||
			!(one.Reference.Latents > 0 && one.Reference.Pixels > 0 && *one.Reference.Features > 0) {
			t.Errorf("t = %g: %+v, %+v", at, one, ode)
		}
		all = append(all, one)
	}
	noise, near := all[0], all[1]
	if !(near.Original.Latents < 0.5*noise.Original.Latents && near.Original.Pixels < 0.5*noise.Original.Pixels &&
		near.Original.Pixels > floor && *near.Original.Features < *noise.Original.Features && near.Pictures.Frechet < noise.Pictures.Frechet) {
		t.Errorf("recovered from t = 0.9: %+v, from noise: %+v", near, noise)
	}
	plain, err := NewRecovery(t.Context(), b, dir, nil, "", train, train)
	if err != nil || plain.Fingerprint == r.Fingerprint || plain.Fingerprint == "" {
		t.Fatalf("an evaluator does not change the fingerprint (%v)", err)
	}
	defer plain.Finalize()
	plain.ClassScale = 2.5
	got, err := plain.Run(t.Context(), RecoverySetting{T: 0.9, Steps: []int{1}, ODE: 1})
	if err != nil || got.Guidance != 2.5 {
		t.Errorf("guidance %g of classes, want that of the map, 2.5 (%v)", got.Guidance, err)
	}
}

// Numbers of recovered pictures that were not measured are undefined.
func TestRecoveryMeasures(t *testing.T) {
	half := 0.5
	whole := Recovered{
		Original: Distances{1, 2, &half}, Reference: &Distances{3, 4, &half}, Pictures: &picture.Result{Kernel: 6, KernelSE: 7},
	}
	result := RecoveryResult{Floor: Distances{8, 9, &half}, HeldOut: &picture.Result{Kernel: 10, KernelSE: 11}}
	none := metric.Optional{}
	some := metric.Some
	want := [][4]metric.Optional{ // number, its error, floor, its error
		{some(1), none, none, none}, {some(2), none, some(9), none}, {some(0.5), none, some(0.5), none},
		{some(4), none, none, none}, {some(0.5), none, none, none}, {some(6), some(7), some(10), some(11)},
	}
	measures := RecoveryMeasures()
	if len(measures) != len(want) {
		t.Fatalf("%d numbers, want %d", len(measures), len(want))
	}
	for i, m := range measures {
		v, se := m.Of(whole)
		floor, floorSE := m.Floor(result)
		if got := [4]metric.Optional{v, se, floor, floorSE}; got != want[i] {
			t.Errorf("%s: %v, want %v", m.Name, got, want[i])
		}
		v, _ = m.Of(Recovered{Original: Distances{1, 2, nil}}) // of the ODE, without an evaluator
		floor, _ = m.Floor(RecoveryResult{})
		if v.IsZero() != (i > 1) || floor.IsZero() != (i != 1) {
			t.Errorf("%s of little: %v, floor %v", m.Name, v, floor)
		}
	}
}
