package alignment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
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

// linearModel is a model of latents of four elements without a network.
func linearModel(t *testing.T, b compute.Backend, p mfm.Parametrization) *Model {
	t.Helper()
	m, err := newModel(b, mfm.Model{
		Map: &mfm.Map{
			Interpolant: interpolant.Linear{}, Parametrization: p,
			Backbone: func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) },
		},
		Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2, 2, 1},
	}, latent.Config{}, latent.Autoencoder{LatentCodec: linearCodec{}, Images: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Finalize)
	return m
}

// On N(0, I) with a linear decoder the mean level of a picture is Gaussian given x_t, and so the
// values of a linear and of a quadratic reward of it are known. All estimates are as far from them
// as theory says.
func TestValues(t *testing.T) {
	const at, pixels, weight, target, width = 0.4, 4, 40, 0.55, 0.02
	b := backendtest.New(t)
	m := linearModel(t, b, &mfm.Gaussian{Variance: []float64{1}})
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
		if !(math.Abs(of.Mean.Float()-mean) < 0.02 && math.Abs(of.SD.Float()/sd-1) < 0.03 && of.Halves.Float() > 0.98) {
			t.Errorf("%s: reference %g ± %g, want %g ± %g, halves %g", of.Reward, of.Mean.Float(), of.SD.Float(), mean, sd,
				of.Halves.Float())
		}
		if !(of.Effective > 20 && of.Effective < 1024) {
			t.Errorf("%s: effective number %g of 1,024", of.Reward, of.Effective)
		}
		if len(of.Estimates) != 6 {
			t.Fatalf("%s: %+v", of.Reward, of.Estimates)
		}
		for i, want := range []ValueEstimate{
			{Method: ByDenoiser, N: 1, Steps: 1, NFE: 1}, {Method: ByMap, N: 1, Steps: 1, NFE: 1}, {Method: ByMap, N: 64, Steps: 1, NFE: 64},
			{Method: ByGLASS, N: 1, Steps: 48, NFE: 48}, {Method: ByGLASS, N: 64, Steps: 48, NFE: 64 * 48},
			{Method: BySDE, N: 1024, Steps: 20, NFE: 1024 * 20},
		} {
			got := of.Estimates[i]
			pearson, bias, rms := got.Pearson.Float(), got.Bias.Float(), got.RMS.Float()
			if se := got.PearsonSE.Float(); !(se >= 0 && se < 0.15) {
				t.Errorf("%s: %+v has correlation %g ± %g", of.Reward, want, pearson, se)
			}
			got.Pearson, got.PearsonSE, got.Bias, got.RMS = want.Pearson, want.PearsonSE, want.Bias, want.RMS
			if got != want {
				t.Errorf("%s: estimate %+v, want %+v", of.Reward, got, want)
			}
			switch {
			// An estimate of 64 samples is 0.05 nats too low and has an error of 0.25, so that the mean
			// over 64 states has a standard error of 0.03.
			case want.N >= 64 && !(pearson > 0.95 && math.Abs(bias) < 0.15 && rms < 0.35*sd):
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
		"reference_steps = 7":      func(c *ValueSetting) { c.ReferenceSteps = 7 },
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

// mixtureMap has the exact drift of a mixture, and a map that takes Euler steps of its ODE: in one
// step it is the denoiser.
type mixtureMap struct{ *gmm.Mixture }

func (p mixtureMap) Velocity(ip interpolant.Schedule, _ mfm.Network, in nn.Inputs) *Node {
	n := max(in.Xbar.Shape().Dim(0), in.X.Shape().Dim(0))
	rows := func(x *Node) *Node { return BroadcastToDims(Reshape(x, x.Shape().Dim(0), -1), n, 4) }
	times := func(t *Node) *Node { return BroadcastToDims(t, n) }
	x := rows(in.X)
	v := p.Like(x).Posterior(ip, times(in.T), x).Drift(ip, times(in.S), rows(in.Xbar))
	return Reshape(v, n, 2, 2, 1)
}

func (mixtureMap) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// On a mixture of two Gaussians, which has two modes given x_t, the value of a linear reward is
// known. The reference and GLASS estimate it. The map, which is the denoiser, does not.
func TestMixtureValues(t *testing.T) {
	const at, variance, slope = 0.4, 0.25, 0.5 // of the reward by the sum of latents
	identity := [][]float64{{variance, 0, 0, 0}, {0, variance, 0, 0}, {0, 0, variance, 0}, {0, 0, 0, variance}}
	mixture, err := gmm.New([]float64{1, 1}, [][]float64{{-1, -1, -1, -1}, {1, 1, 1, 1}}, [][][]float64{identity, identity})
	if err != nil {
		t.Fatal(err)
	}
	b := backendtest.New(t)
	m := linearModel(t, b, mixtureMap{mixture})
	c := ValueSetting{
		Rewards: []steering.NamedReward{{Name: "linear", Reward: json.RawMessage(`{"kind": "brightness", "weight": 40}`)}},
		T:       at, States: 64, Samples: 512, N: []int{512}, GLASS: []int{1, 48}, Reference: 1024, ReferenceSteps: 60,
	}
	v, err := m.valuation(t.Context(), b, c)
	if err != nil {
		t.Fatal(err)
	}
	var exact, denoised []float64
	for _, x := range mfm.Rows(v.states, 4) {
		const d = (1-at)*(1-at) + at*at*variance
		var weights, values, means []float64 // log weights, log E[e^r], E[r] of the components
		for _, mean := range []float64{-1, 1} {
			var square, sum float64
			for _, x := range x {
				residual := float64(x) - at*mean
				square, sum = square+residual*residual, sum+mean+at*variance/d*residual
			}
			weights, means = append(weights, -square/2/d), append(means, 20+slope*sum)
			values = append(values, 20+slope*sum+slope*slope*4*variance*(1-at)*(1-at)/d/2-square/2/d)
		}
		total := floats.LogSumExp(weights)
		exact = append(exact, floats.LogSumExp(values)-total)
		denoised = append(denoised, math.Exp(weights[0]-total)*means[0]+math.Exp(weights[1]-total)*means[1])
	}
	r, err := m.Values(t.Context(), b, c)
	if err != nil || len(r.Rewards) != 1 || len(r.Rewards[0].Estimates) != 5 {
		t.Fatalf("result %+v (%v)", r, err)
	}
	of, mean := r.Rewards[0], stat.Mean(exact, nil)
	if !(math.Abs(of.Mean.Float()-mean) < 0.03) {
		t.Errorf("reference %g, want %g", of.Mean.Float(), mean)
	}
	gap := stat.Mean(denoised, nil) - mean
	if gap > -0.3 {
		t.Fatalf("the denoiser is %g off, which tells no samplers apart", gap)
	}
	for i, want := range []struct {
		method ValueMethod
		bias   float64
	}{{ByDenoiser, gap}, {ByMap, gap}, {ByGLASS, gap}, {ByGLASS, 0}, {BySDE, 0}} {
		e := of.Estimates[i]
		if e.Method != want.method || !(math.Abs(e.Bias.Float()-want.bias) < 0.08) {
			t.Errorf("%s, %d steps: bias %g, want %s with %g", e.Method, e.Steps, e.Bias.Float(), want.method, want.bias)
		}
	}
}

// The logarithm of the mean of e^r counts samples without a finite reward, and is undefined if no
// sample has one. The effective number is that of the worst state.
func TestValuesOf(t *testing.T) {
	rng, none := rand.New(rand.NewPCG(1, 0)), -1e30
	a, z := rng.NormFloat64(), rng.NormFloat64()
	subsets := valuesOf([]float64{a, none, z, z, a, a, none, none}, 4, 2)
	if math.Abs(subsets[0][0]-(a-math.Ln2)) > 1e-12 || math.Abs(subsets[1][0]-z) > 1e-12 || math.Abs(subsets[0][1]-a) > 1e-12 ||
		!math.IsNaN(subsets[1][1]) {
		t.Errorf("values %g, want %g, %g, %g and NaN", subsets, a-math.Ln2, z, a)
	}
	if got := effective([]float64{5, 5, none, 900, 900 + math.Log(3), none}, 3); math.Abs(got-1.6) > 1e-9 {
		t.Errorf("effective number %g, want that of weights 1 and 3, 1.6", got)
	}
	if got := effective([]float64{1, 1, none, none}, 2); got != 0 {
		t.Errorf("effective number %g without a finite reward", got)
	}
}

// The bootstrap's standard error is that of a correlation of independent normal pairs, (1 - ρ²)/√n.
// An undefined estimate does not count, and that of a constant has no correlation.
func TestCompared(t *testing.T) {
	const n, rho = 400, 0.6
	rng := rand.New(rand.NewPCG(2, 0))
	x, y, constant := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
		y[i] = rho*x[i] + math.Sqrt(1-rho*rho)*rng.NormFloat64()
	}
	got := ValueEstimate{}.compared([][]float64{x}, y, rng)
	want := (1 - rho*rho) / math.Sqrt(n)
	if math.Abs(got.Pearson.Float()-rho) > 4*want || math.Abs(got.PearsonSE.Float()/want-1) > 0.25 || got.Undefined != 0 {
		t.Errorf("correlation %g ± %g, want %g ± %g", got.Pearson.Float(), got.PearsonSE.Float(), rho, want)
	}
	constant[0], constant[1] = math.NaN(), math.NaN()
	got = ValueEstimate{}.compared([][]float64{constant}, y, rng)
	if !got.Pearson.IsZero() || !got.PearsonSE.IsZero() || math.Abs(got.Bias.Float()+stat.Mean(y[2:], nil)) > 1e-12 ||
		got.Undefined != 2./n {
		t.Errorf("of a constant: %+v", got)
	}
	if none := (ValueEstimate{}).compared([][]float64{{math.NaN()}}, []float64{1}, rng); !none.Bias.IsZero() || !none.RMS.IsZero() {
		t.Errorf("without an estimate: %+v", none)
	}
}

// The correlation of the halves of a reference says how well the truth correlates with the whole.
func TestReachable(t *testing.T) {
	const n, noise = 20_000, 1.5 // standard deviations of the error of a half
	rng := rand.New(rand.NewPCG(3, 0))
	truth, first, second, whole := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range truth {
		truth[i] = rng.NormFloat64()
		first[i], second[i] = truth[i]+noise*rng.NormFloat64(), truth[i]+noise*rng.NormFloat64()
		whole[i] = (first[i] + second[i]) / 2
	}
	r := RewardValues{Halves: metric.Some(stat.Correlation(first, second, nil))}
	if got, want := r.Reachable().Float(), stat.Correlation(truth, whole, nil); math.Abs(got-want) > 0.02 {
		t.Errorf("a perfect estimate has the correlation %.3f, want %.3f", got, want)
	}
	if got := (RewardValues{Halves: metric.Some(-0.1)}).Reachable(); got != metric.Some(0) {
		t.Errorf("of halves without a correlation: %v", got)
	}
	if got := (RewardValues{}).Reachable(); !got.IsZero() {
		t.Errorf("without halves: %v", got)
	}
}

// Estimates are found by reward, method and steps, in the order of their evaluations.
func TestEstimatesBy(t *testing.T) {
	some := metric.Some
	r := ValueResult{Rewards: []RewardValues{{Reward: "a"}, {Reward: "b", Estimates: []ValueEstimate{
		{Method: ByGLASS, Steps: 2, N: 4, NFE: 8, Pearson: some(0.5)}, {Method: ByGLASS, Steps: 4, N: 1, NFE: 4, Pearson: some(0.4)},
		{Method: ByGLASS, Steps: 2, N: 1, NFE: 2, Pearson: some(0.3)}, {Method: ByGLASS, Steps: 2, N: 16, NFE: 32},
		{Method: ByMap, Steps: 2, N: 1, NFE: 2, Pearson: some(0.2)},
	}}}}
	if of := r.Of("b").By(ByGLASS, 2); len(of) != 2 || of[0].N != 1 || of[1].N != 4 {
		t.Errorf("estimates %+v, want those of 1 and 4 samples", of)
	}
	if of := r.Of("c"); of.Reward != "c" || of.Estimates != nil {
		t.Errorf("of an unknown reward: %+v", of)
	}
}
