package steer_test

import (
	"math"
	"reflect"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

func options() steer.Options {
	return steer.Options{Config: config(steer.SDE, 3), N: 4, Particles: 4, Exact: &steer.Exact{}}
}

func build(t testing.TB, e steer.Entry, o steer.Options) steer.Method {
	t.Helper()
	m, err := e.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNames(t *testing.T) {
	built := func(e steer.Entry) string { return build(t, e, options()).String() }
	mfmtest.Registry(t, steer.Methods(), func(e steer.Entry) string { return e.Name }, built, steer.Lookup)
}

// A search starts from the paper's time grid, a method of one step from one step.
func TestDefaultConfigs(t *testing.T) {
	for _, e := range steer.Methods() {
		if c := e.DefaultConfig(); (c.Power == 2.5 && c.Start == 1e-5) != e.Search || (c.Steps == 1) != e.OneStep {
			t.Errorf("%s starts from %+v", e.Name, c)
		}
	}
}

// A method reads the options that its entry names, and no others.
func TestOptionsThatAreRead(t *testing.T) {
	quarter := 0.25
	filter := func(e steer.Entry) bool { return e.Filter }
	ofSamples := func(e steer.Entry) bool { return e.PosteriorSamples }
	for name, c := range map[string]struct {
		change func(o *steer.Options)
		reads  func(e steer.Entry) bool
	}{
		"N":           {func(o *steer.Options) { o.N = 8 }, func(e steer.Entry) bool { return e.N }},
		"Antithetic":  {func(o *steer.Options) { o.Antithetic = true }, ofSamples},
		"LeaveOneOut": {func(o *steer.Options) { o.LeaveOneOut = true }, ofSamples},
		"Shared":      {func(o *steer.Options) { o.Shared = true }, ofSamples},
		"Baseline": {
			func(o *steer.Options) { o.Baseline = steer.DenoiserBaseline },
			func(e steer.Entry) bool { return e.Baseline },
		},
		"Particles": {func(o *steer.Options) { o.Particles = 8 },
			func(e steer.Entry) bool { return e.Filter || e.Search }},
		"SNR":        {func(o *steer.Options) { o.SNR = 2 }, func(e steer.Entry) bool { return e.SNR }},
		"Resampling": {func(o *steer.Options) { o.Resampling = steer.Multinomial }, filter},
		"Threshold":  {func(o *steer.Options) { o.Threshold = &quarter }, filter},
	} {
		changed := options()
		c.change(&changed)
		for _, e := range steer.Methods() {
			if reads := !reflect.DeepEqual(build(t, e, options()), build(t, e, changed)); reads != c.reads(e) {
				t.Errorf("%s reads %s: %t, want %t", e.Name, name, reads, c.reads(e))
			}
		}
	}
}

// The other flags of an entry agree with what its method needs: the value in closed form, the SDE,
// gradients of posterior samples, and a flow map.
func TestNeeds(t *testing.T) {
	mixture, ip := gmm.Paper(), interpolant.Linear{}
	value := exact(t, mixture, ip, measured())
	for _, e := range steer.Methods() {
		o := options()
		o.Exact = nil
		if _, err := e.New(o); (err != nil) != e.Exact {
			t.Errorf("%s without the exact value: error %v", e.Name, err)
		}
		o.Exact = &value
		if err := build(t, e, o).Validate(); err != nil {
			t.Errorf("%s with the SDE: error %v", e.Name, err)
		}
		s := newSteerer(t, steer.FromMixture(mixture, ip), measured().Reward(), build(t, e, o))
		if _, err := s.Sample(t.Context(), 1, 4, nil); (err != nil) != (e.MapGradient || e.FlowMap) {
			t.Errorf("%s without gradients of posterior samples and a flow map: error %v", e.Name, err)
		}
		o.Config.Dynamics = steer.ODE
		if err := build(t, e, o).Validate(); (err != nil) != e.Filter {
			t.Errorf("%s with the ODE: error %v", e.Name, err)
		}
	}
}

// turned is an estimate of the value whose gradient is the drift, turned by an angle in the plane.
type turned struct{ angle float64 }

func (turned) Samples() int    { return 0 }
func (turned) Validate() error { return nil }
func (turned) String() string  { return "turned" }

func (e turned) Estimate(_ steer.Problem, _ *solver.RNG, _ *steer.Counter, _, x, drift *Node, _ bool) steer.Estimate {
	sin, cos := math.Sincos(e.angle)
	rotation := ConstAsDType(x.Graph(), x.DType(), [][]float64{{cos, sin}, {-sin, cos}})
	return steer.Estimate{Value: ReduceSum(x, 1), Gradient: Dot(drift, rotation).Product()}
}

// A steering term of half the length of the drift makes a step by the law of cosines longer or
// shorter.
func TestSpeed(t *testing.T) {
	normal, err := gmm.New([]float64{1}, [][]float64{{2, 0}}, [][][]float64{{{1, 0}, {0, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	m := steer.FromGaussian(normal, interpolant.Linear{})
	r := reward.Func(func(x *Node) *Node { return ReduceSum(x, 1) })
	for angle, want := range map[float64]float64{0: 1.5, math.Pi: 0.5, math.Pi / 2: math.Sqrt(1.25), math.Pi / 3: math.Sqrt(1.75)} {
		c := config(steer.ODE, 5)
		c.Renormalization, c.Ratio = steer.RescaleLength, 0.5
		s := sample(t, newSteerer(t, m, r, steer.Guided{Config: c, Estimator: turned{angle}}), 1, 50).Series
		for k, v := range s.Speed {
			if math.Abs(v-want) > 1e-4 || math.Abs(s.Ratio[k]-0.5) > 1e-4 {
				t.Errorf("angle %.2f, step %d: speed %g with the ratio %g, want %g with 0.5", angle, k, v, s.Ratio[k], want)
			}
		}
		if len(s.Speed) != 5 {
			t.Errorf("%d speeds of 5 steps", len(s.Speed))
		}
	}
}
