package alignment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// linearCodec decodes latents of one channel, which N(0, I) are, to gray pictures a tenth as large.
type linearCodec struct{}

func (linearCodec) Latent(_ *model.Scope, images *Node) *Node  { return MulScalar(images, 10) }
func (linearCodec) Decode(_ *model.Scope, latents *Node) *Node { return MulScalar(latents, 0.1) }
func (linearCodec) Factor() int                                { return 1 }
func (linearCodec) LatentChannels() int                        { return 1 }
func (linearCodec) Validate() error                            { return nil }

// On N(0, I) with a linear decoder the mean level of a picture is Gaussian given x_t, and so the
// values of a linear and of a quadratic reward of it are known. All estimates are as far from them
// as theory says.
func TestValues(t *testing.T) {
	const at, pixels, weight, target, width = 0.4, 4, 40, 0.55, 0.02
	b, store := backendtest.New(t), model.NewStore()
	m, err := newModel(b, mfm.Model{
		Map: &mfm.Map{
			Interpolant: interpolant.Linear{}, Parametrization: &mfm.Gaussian{Variance: []float64{1}},
			Backbone: func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) },
		},
		Weights: store.Scope(train.WeightsScope), Shape: []int{2, 2, 1},
	}, latent.Config{}, latent.Autoencoder{LatentCodec: linearCodec{}, Images: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Finalize()
	c := ValueSetting{
		Rewards: []steering.NamedReward{
			{Name: "linear", Reward: json.RawMessage(`{"kind": "brightness", "weight": 40}`)},
			{Name: "quadratic", Reward: json.RawMessage(`{"kind": "brightness", "target": 0.55, "width": 0.02}`)},
		},
		T: at, States: 64, Samples: 64, N: []int{1, 64}, GLASS: []int{48}, Reference: 1024, ReferenceSteps: 40,
	}
	// The mean level is (1 + the mean latent/10)/2, whose mean is linear in x_t.
	const variance = (1 - at) * (1 - at) / ((1-at)*(1-at) + at*at) // of a latent given x_t
	const levels = variance / (20 * 20 * pixels)                   // of the mean level
	v, err := m.valuation(t.Context(), b, c)
	if err != nil {
		t.Fatal(err)
	}
	exact := make([][]float64, 2)
	for _, x := range mfm.Rows(v.states, pixels) {
		mean := 0.5 + stat.Mean(x, nil)*at/((1-at)*(1-at)+at*at)/20
		exact[0] = append(exact[0], weight*mean+weight*weight*levels/2)
		exact[1] = append(exact[1], -(mean-target)*(mean-target)/2/(width*width+levels)-math.Log1p(levels/width/width)/2)
	}
	r, err := m.Values(t.Context(), b, c)
	if err != nil || len(r.Rewards) != 2 {
		t.Fatalf("result %+v (%v)", r, err)
	}
	for k, of := range r.Rewards {
		mean, sd := stat.MeanStdDev(exact[k], nil)
		// Values of 1,024 samples have a standard error of about 0.03, which the states average.
		if math.Abs(of.Mean-mean) > 0.02 || math.Abs(of.SD/sd-1) > 0.03 || !(of.Halves.Float() > 0.98) {
			t.Errorf("%s: reference %g ± %g, want %g ± %g, halves %g", of.Reward, of.Mean, of.SD, mean, sd, of.Halves.Float())
		}
		if len(of.Estimates) != 5 {
			t.Fatalf("%s: %+v", of.Reward, of.Estimates)
		}
		for i, want := range []ValueEstimate{
			{Method: ByDenoiser, N: 1, Steps: 1, NFE: 1}, {Method: ByMap, N: 1, Steps: 1, NFE: 1}, {Method: ByMap, N: 64, Steps: 1, NFE: 64},
			{Method: ByGLASS, N: 1, Steps: 48, NFE: 48}, {Method: ByGLASS, N: 64, Steps: 48, NFE: 64 * 48},
		} {
			got := of.Estimates[i]
			pearson, bias, rms := got.Pearson.Float(), got.Bias, got.RMS
			if got.Pearson, got.Bias, got.RMS = want.Pearson, 0, 0; got != want {
				t.Errorf("%s: estimate %+v, want %+v", of.Reward, got, want)
			}
			switch {
			case want.N == 64 && !(pearson > 0.95 && math.Abs(bias) < 0.06 && rms < 0.3*sd):
				t.Errorf("%s: %+v has correlation %g, bias %g, error %g of %g", of.Reward, want, pearson, bias, rms, sd)
			case k == 0 && want.Method == ByDenoiser: // without half the variance of the reward
				if gap := weight * weight * levels / 2; !(pearson > 0.99) || math.Abs(bias+gap) > 0.02 || math.Abs(rms-gap) > 0.02 {
					t.Errorf("%s: correlation %g, bias %g, error %g, want 1, %g", want.Method, pearson, bias, rms, -gap)
				}
			case k == 0 && want.N == 1: // one reward, N(V - variance/2, variance)
				noise := weight * weight * levels
				wanted := sd / math.Hypot(sd, math.Sqrt(noise))
				if math.Abs(pearson-wanted) > 0.03 || math.Abs(bias+noise/2) > 0.08 || math.Abs(rms/math.Sqrt(noise+noise*noise/4)-1) > 0.08 {
					t.Errorf("%s: correlation %g, bias %g, error %g, want %g, %g, %g", want.Method, pearson, bias, rms, wanted, -noise/2,
						math.Sqrt(noise+noise*noise/4))
				}
			}
		}
	}
	for want, change := range map[string]func(c *ValueSetting){
		"t = 0":                    func(c *ValueSetting) { c.T = 0 },
		"n = 3: must be a divisor": func(c *ValueSetting) { c.N = []int{3} },
		"glass = 0":                func(c *ValueSetting) { c.GLASS = []int{0} },
		"reference = 5":            func(c *ValueSetting) { c.Reference = 5 },
		"unknown": func(c *ValueSetting) {
			c.Rewards = []steering.NamedReward{{Name: "a", Reward: json.RawMessage(`{"kind": "luck"}`)}}
		},
		"rewards: none": func(c *ValueSetting) { c.Rewards = nil },
	} {
		wrong := c
		change(&wrong)
		_, err := m.Values(t.Context(), b, wrong)
		experimenttest.WantError(t, want, err, want)
		_, err = m.CheckValues(b, wrong)
		experimenttest.WantError(t, want, err, want)
	}
	for _, c := range ValueGrid() {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	c.Rewards[1].Reward = json.RawMessage(`{"kind": "color", "hue": 240, "weight": 1}`)
	_, err = m.CheckValues(b, c)
	experimenttest.WantError(t, "a color of gray pictures", err, "does not fit pictures of shape [2 2 1]")
	c.Rewards[1].Reward = json.RawMessage(`{"kind": "symmetry"}`)
	one, err := m.CheckValues(b, c)
	c.Rewards = c.Rewards[:1]
	if other, err2 := m.CheckValues(b, c); err != nil || err2 != nil || one == other {
		t.Errorf("fingerprints %s, %s of other rewards (%v, %v)", one, other, err, err2)
	}
}

// The logarithm of the mean of e^r counts samples without a reward, and reports states of which all
// are.
func TestValuesOf(t *testing.T) {
	rng, none := rand.New(rand.NewPCG(1, 0)), -1e30
	a, z := rng.NormFloat64(), rng.NormFloat64()
	sets, err := valuesOf([]float64{a, none, z, z}, 4, 2)
	if err != nil || math.Abs(sets[0][0]-(a-math.Ln2)) > 1e-12 || math.Abs(sets[1][0]-z) > 1e-12 {
		t.Errorf("values %g (%v), want %g and %g", sets, err, a-math.Ln2, z)
	}
	_, err = valuesOf([]float64{a, z, none, none}, 2, 2)
	experimenttest.WantError(t, "no reward", err, "none of the 2 samples of state 1")
}
