package steer

import (
	"cmp"
	"fmt"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Method draws samples of the tilted distribution, or of one that it is compared with.
type Method interface {
	// Build carries noise, [n, ...], to n samples. p.Lambda is nil: the method sets it from its
	// configuration.
	Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome
	// Configuration returns how particles move.
	Configuration() Config
	// Rows returns the number of rows in a batch of the network for each sample.
	Rows() int
	// Group returns the number of samples that are drawn together, as the particles of a filter
	// are; 1 if samples are independent.
	Group() int
	// Validate returns an error that names the first option that is out of range.
	Validate() error
	// String returns the name under which results are stored.
	String() string
}

// Outcome has the nodes that a method returns.
type Outcome struct {
	X *Node // samples, [n, ...]
	// LogWeights are the logarithms of the samples' weights, [n]; nil means equal weights.
	LogWeights *Node
	// LogZ is an estimate of log E[e^{λ r}], a scalar, unbiased before the logarithm. It is nil if
	// and only if LogWeights is.
	LogZ *Node
	// Rewards are r of the samples, without λ, [n]; nil if the method did not evaluate them.
	Rewards *Node
	// Series has the means over the particles at each step, float32 [steps, 8], in the order Ratio,
	// Effective, Std, Reward, Value, Bad, Particles, Speed of [Series].
	Series  *Node
	Rng     *solver.RNG
	Counter *Counter
}

// Guided is a steered run: each particle follows the dynamics with the gradient that Estimator
// returns. A nil Estimator means the unsteered model.
type Guided struct {
	Config
	Estimator Estimator
}

// String returns the estimator's name, or "unsteered".
func (m Guided) String() string {
	if m.Estimator == nil {
		return "unsteered"
	}
	return m.Estimator.String()
}

// Configuration returns the configuration.
func (m Guided) Configuration() Config { return m.Config }

// Rows returns the number of the estimator's posterior samples, at least 1.
func (m Guided) Rows() int {
	if m.Estimator == nil {
		return 1
	}
	return max(m.Estimator.Samples(), 1)
}

// Group returns 1.
func (m Guided) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m Guided) Validate() error {
	if m.Estimator != nil {
		if err := m.Estimator.Validate(); err != nil {
			return err
		}
	}
	if _, exact := m.Estimator.(Exact); exact && m.LambdaPower != 0 {
		return fmt.Errorf("lambda_power = %g: the exact value holds for a constant λ, use 0", m.LambdaPower)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m Guided) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m Guided) program(ip interpolant.Schedule) program { return m.along(ip, m.Estimator) }

// Options are the options of the methods that [Methods] lists, as configurations name them. A
// method reads those that its [Entry] names and ignores the others.
type Options struct {
	Config Config
	// N is the number of posterior samples of an estimate or a search, or of candidates of
	// Best-of-N.
	N int
	// Antithetic, LeaveOneOut and Shared are those of [PosteriorSamples].
	Antithetic, LeaveOneOut, Shared bool
	// Baseline of MFM-GF; empty means [MeanBaseline].
	Baseline Baseline
	// Particles of a particle filter or of a search, for which 0 means 1.
	Particles int
	// Resampling and Threshold are those of [SMC]: empty means [Systematic], nil means 0.5.
	Resampling Resampling
	Threshold  *float64
	// Exact is the value in closed form, nil if it is not known.
	Exact *Exact
	// SNR is that of [WeightedDiamond]; 0 means [DefaultSNR].
	SNR float64
}

// Entry describes a method of [Methods]: what it needs, and which options it reads beside Config.
type Entry struct {
	// Name identifies the method in configurations and results, such as "smc-mfm-gf". It is what
	// the method's String returns.
	Name string
	// N says that the method reads N, PosteriorSamples that it reads Antithetic, LeaveOneOut and
	// Shared, and Baseline that it reads Baseline.
	N, PosteriorSamples, Baseline bool
	// Filter says that the method reads Particles, Resampling and Threshold, and that it needs the
	// dynamics [SDE]. Search says that it reads Particles.
	Filter, Search bool
	// AnyDynamics says that the method does not follow the dynamics of the configuration.
	AnyDynamics bool
	// OneStep says that the method takes one step, whatever the configuration says.
	OneStep bool
	// SNR says that the method reads SNR.
	SNR bool
	// Exact says that the method needs the value in closed form.
	Exact bool
	// MapGradient says that the method differentiates posterior samples in x, which is not possible
	// if [Model].Detached.
	MapGradient bool
	// FlowMap says that the method needs [Model].FlowMap.
	FlowMap bool

	build func(o Options) Method
}

// New returns the method with the given options, or an error if it needs the value in closed form
// and there is none. It does not validate the options; see [Method].
func (e Entry) New(o Options) (Method, error) {
	if e.Exact && o.Exact == nil {
		return nil, fmt.Errorf("method %s: the value has no closed form here", e.Name)
	}
	return e.build(o), nil
}

// DefaultConfig returns the configuration to start from: [SearchConfig] for a search, one step for
// a method that takes one, and otherwise [DefaultConfig].
func (e Entry) DefaultConfig() Config {
	c := DefaultConfig()
	if e.Search {
		c = SearchConfig()
	}
	if e.OneStep {
		c.Steps = 1
	}
	return c
}

// estimator is an estimator of the value that guides particles or twists a particle filter.
type estimator struct {
	Entry
	build func(o Options) Estimator
}

// estimators lists the estimators that configurations can name.
func estimators() []estimator {
	samples := func(o Options) PosteriorSamples {
		return PosteriorSamples{N: o.N, Antithetic: o.Antithetic, Shared: o.Shared, LeaveOneOut: o.LeaveOneOut}
	}
	return []estimator{
		{Entry{Name: "mfm-g", N: true, PosteriorSamples: true, MapGradient: true}, func(o Options) Estimator {
			return MFMG{PosteriorSamples: samples(o)}
		}},
		{Entry{Name: "mfm-gf", N: true, PosteriorSamples: true, Baseline: true}, func(o Options) Estimator {
			return MFMGF{PosteriorSamples: samples(o), Baseline: cmp.Or(o.Baseline, MeanBaseline)}
		}},
		{Entry{Name: "dps"}, func(Options) Estimator { return DPS{} }},
		{Entry{Name: "weighted-diamond", N: true, SNR: true, FlowMap: true}, func(o Options) Estimator {
			return WeightedDiamond{N: o.N, SNR: cmp.Or(o.SNR, DefaultSNR)}
		}},
		{Entry{Name: "exact", Exact: true}, func(o Options) Estimator { return *o.Exact }},
	}
}

// Methods lists the methods that configurations can name: guidance and particle filters by each
// estimator, flow-map guidance, Best-of-N, and the searches.
func Methods() []Entry {
	unsteered := func(o Options) Method { return Guided{Config: o.Config} }
	entries := []Entry{{Name: "unsteered", build: unsteered}}
	var filters []Entry
	for _, e := range estimators() {
		guided, filter := e.Entry, e.Entry
		guided.build = func(o Options) Method { return Guided{Config: o.Config, Estimator: e.build(o)} }
		filter.Name, filter.Filter = "smc-"+e.Name, true
		filter.build = func(o Options) Method {
			m := SMC{
				Config: o.Config, Particles: o.Particles, Twist: e.build(o),
				Resampling: cmp.Or(o.Resampling, Systematic), Threshold: 0.5,
			}
			if o.Threshold != nil {
				m.Threshold = *o.Threshold
			}
			return m
		}
		entries, filters = append(entries, guided), append(filters, filter)
	}
	bestOf := func(o Options) Method { return BestOf{Config: o.Config, N: o.N} }
	entries = append(entries, Entry{Name: "best-of-n", N: true, build: bestOf})
	entries = append(entries, Entry{
		Name: "best-of-n-one-step", N: true, AnyDynamics: true, OneStep: true,
		build: func(o Options) Method {
			o.Config.Steps = 1
			return OneStepBestOf{Config: o.Config, N: o.N}
		},
	})
	for _, form := range []GuidanceForm{EuclideanForm, JacobianForm} {
		build := func(o Options) Method { return FlowMapGuidance{Config: o.Config, Form: form} }
		entries = append(entries, Entry{
			Name: build(Options{}).String(), AnyDynamics: true, FlowMap: true, build: build,
		})
	}
	entries = append(entries, filters...)
	for _, selection := range []Selection{Greedy, SoftmaxSelection, MaxOverall} {
		for _, transition := range []Transition{Renoise, DDPM} {
			build := func(o Options) Method {
				return Search{
					Config: o.Config, Particles: max(o.Particles, 1), N: o.N,
					Selection: selection, Transition: transition,
				}
			}
			entries = append(entries, Entry{
				Name: build(Options{}).String(), N: true, Search: true, AnyDynamics: true, build: build,
			})
		}
	}
	return entries
}

// Lookup returns the entry of a method by its name, or an error that lists the names.
func Lookup(name string) (Entry, error) {
	var names []string
	for _, e := range Methods() {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return Entry{}, fmt.Errorf("method %q is unknown: use %s", name, strings.Join(names, ", "))
}
