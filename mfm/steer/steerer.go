package steer

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Steerer draws samples by a method. Each microbatch is one compiled call from noise to samples,
// without transfers in between; with a black-box reward ([NewBlackBox]) it is two calls a step. A
// Steerer must not be used by several goroutines at a time.
type Steerer struct {
	// Batch is the largest number of rows in a batch of the network; samples are split into
	// microbatches accordingly. 0 means as many rows as have 2^17 elements (2^20 on a GPU), at most
	// 32,768. Memory grows with Batch, not with the number of samples. A method's group is never
	// split: the particles of [SMC] are evaluated together, each with all of its posterior samples,
	// whatever Batch is.
	Batch int

	backend  compute.Backend
	model    Model
	reward   reward.Reward
	method   Method
	class    int32       // of the samples; model.Classes means none
	exec     *model.Exec // of the whole run; nil with a black-box reward
	blackBox *blackBox
}

// New returns a steerer of m by a method. The weights of r, if any, are in the scope [reward.Scope]
// of the model's store, or are created there. It returns an error if the model's shape is empty or
// has an axis below 1, or if the method's options are invalid.
func New(b compute.Backend, m Model, r reward.Reward, method Method) (*Steerer, error) {
	s, err := newSteerer(b, m, method)
	if err != nil {
		return nil, err
	}
	s.reward = r
	s.exec, err = model.NewExec(b, s.model.Store, s.build)
	if err != nil {
		return nil, fmt.Errorf("%v: preparing the graph: %w", method, err)
	}
	s.exec.SetMaxCache(-1)
	return s, nil
}

// newSteerer returns a steerer without a graph.
func newSteerer(b compute.Backend, m Model, method Method) (*Steerer, error) {
	if err := method.Validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", method, err)
	}
	if len(m.Shape) == 0 {
		return nil, fmt.Errorf("%v: samples have no shape: give that of one sample, such as [2]", method)
	}
	for _, d := range m.Shape {
		if d < 1 {
			return nil, fmt.Errorf("%v: samples of shape %v: every axis must have a length of at least 1",
				method, m.Shape)
		}
	}
	if m.Store == nil {
		m.Store = model.NewStore()
	}
	return &Steerer{backend: b, model: m, method: method, class: int32(m.Classes)}, nil
}

// SetClass conditions the samples of later calls on a class of the model, in [0, Classes), or, with
// Classes, on none. It returns an error for a model without classes and for a label out of range.
func (s *Steerer) SetClass(class int) error {
	if class < 0 || class > s.model.Classes || s.model.Classes == 0 {
		return fmt.Errorf("%v: class %d of a model with %d classes", s.method, class, s.model.Classes)
	}
	s.class = int32(class)
	return nil
}

// label returns the first input of all graphs, the class, int32 [1].
func (s *Steerer) label() *tensors.Tensor { return tensors.FromValue([]int32{s.class}) }

// split returns the other inputs and the class, nil for a model without classes.
func (s *Steerer) split(in []*Node) (others []*Node, class *Node) {
	if s.model.Classes > 0 {
		class = in[0]
	}
	return in[1:], class
}

// Finalize frees the compiled graphs, but not the weights.
func (s *Steerer) Finalize() {
	if s.blackBox != nil {
		s.blackBox.finalize()
		return
	}
	s.exec.Finalize()
}

// build builds the graph of a microbatch.
func (s *Steerer) build(_ *model.Scope, in []*Node) []*Node {
	in, class := s.split(in)
	rng, like := &solver.RNG{State: in[0]}, in[1]
	noise := rng.Normal(like.Shape())
	p := Problem{Model: s.model, Reward: s.reward}.Conditioned(class)
	o := requireWeights(s.model.Store, noise, func() Outcome {
		return s.method.Build(p, rng, NewCounter(noise.Graph()), noise)
	})
	n := noise.Shape().Dim(0)
	if !o.X.Shape().Equal(noise.Shape()) {
		Panicf("the method returns samples of shape %s for noise of shape %s: want equal shapes",
			o.X.Shape(), noise.Shape())
	}
	rewards := o.Rewards
	if rewards == nil {
		rewards = reward.Values(s.reward, o.X, p.Condition(o.X)) // not counted: the method itself does not need it
	}
	if rewards.Rank() != 1 || rewards.Shape().Dim(0) != n {
		Panicf("the reward returns shape %s for %d samples, want [%[2]d]", rewards.Shape(), n)
	}
	return append([]*Node{o.X, rewards}, o.nodes()[1:]...)
}

// requireWeights returns the result of build, and panics if that needs weights which the store
// lacks. A reward may add its own.
func requireWeights[T any](store *model.Store, g GraphProvider, build func() T) T {
	return require.Weights(store, g.Graph(), build, reward.Scope)
}

// nodes returns what the outcome has, without Rewards, in the order that [Result] reads.
func (o Outcome) nodes() []*Node {
	if (o.LogWeights == nil) != (o.LogZ == nil) {
		Panicf("the method returns only one of LogWeights and LogZ: return both or none")
	}
	out := []*Node{o.X, o.Series, o.Counter.counts, o.Rng.State}
	for _, x := range []*Node{o.LogWeights, o.LogZ} {
		if x != nil {
			out = append(out, x)
		}
	}
	return out
}

// microbatch returns the number of samples of a compiled call, out of n.
func (s *Steerer) microbatch(n int) int {
	if k := s.method.Group(); k > 1 {
		return k
	}
	limit := s.Batch
	if limit == 0 {
		elements := 1 << 17 // fits the cache of a CPU
		if backend.GPU(s.backend) {
			elements = 1 << 20
		}
		limit = min(elements/s.elements(), 1<<15)
	}
	limit = max(limit/s.method.Rows(), 1)
	calls := (n + limit - 1) / limit
	for more := calls; more <= 2*calls; more++ {
		if n%more == 0 { // all samples of all calls are used
			return n / more
		}
	}
	return (n + calls - 1) / calls
}

// Sample draws n samples, a multiple of the method's group. progress is called with the number of
// samples done after each microbatch; nil means no callback.
//
// It returns an error if n does not fit, if the store lacks weights, if the graph cannot be built,
// or if ctx ends, which it checks between two calls of the compiled graph.
func (s *Steerer) Sample(ctx context.Context, seed int64, n int, progress func(done int)) (*Result, error) {
	p, err := Begin(seed)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", s.method, err)
	}
	var keep func() error
	if progress != nil {
		keep = func() error {
			progress(p.Done())
			return nil
		}
	}
	return s.Continue(ctx, p, n, keep)
}

// Partial is a run of [Steerer.Sample] after some of its microbatches, which package encoding/gob
// encodes. [Begin] returns one without samples, and [Steerer.Continue] draws the rest.
type Partial struct {
	Result Result    // of the samples so far, but for its Series
	Series []float64 // sum of the series of the calls, flat
	Calls  int       // of the compiled graph
	Size   int       // number of samples of a microbatch; 0 before the first
	RNG    []uint64  // state of the random number generator
}

// ErrPartial is the error, wrapped, of [Steerer.Continue] for a run of other sizes.
var ErrPartial = errors.New("the run in progress does not fit")

// Begin returns a run without samples.
func Begin(seed int64) (*Partial, error) {
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("seeding: %w", err)
	}
	p := new(Partial)
	p.RNG, err = tensors.CopyFlatData[uint64](state)
	return p, err
}

// Done returns the number of samples so far.
func (p *Partial) Done() int { return len(p.Result.Rewards) }

// check returns an error unless p is a run of n samples in microbatches of the given size, with as
// many numbers in its series.
func (p *Partial) check(n, size, elements, series int) error {
	r, done := &p.Result, p.Done()
	wrong := func(what string, got, want int) error {
		return fmt.Errorf("%w: %s %d, want %d: begin again", ErrPartial, what, got, want)
	}
	switch {
	case p.Calls < 0 || p.Calls > n:
		return wrong("microbatches", p.Calls, (done+size-1)/size)
	case len(p.RNG) != RNGStateShape.Size():
		return wrong("numbers of the generator", len(p.RNG), RNGStateShape.Size())
	case p.Calls > 0 && p.Size != size:
		return wrong("samples of a microbatch", p.Size, size)
	case done != min(p.Calls*size, n):
		return wrong("samples so far", done, min(p.Calls*size, n))
	case len(r.Samples) != done*elements:
		return wrong("values of the samples", len(r.Samples), done*elements)
	case p.Calls > 0 && len(p.Series) != series:
		return wrong("numbers of the series", len(p.Series), series)
	case r.LogWeights != nil && len(r.LogWeights) != done:
		return wrong("weights", len(r.LogWeights), done)
	case r.LogWeights != nil && (len(r.LogZ) == 0 || done%len(r.LogZ) != 0) || r.LogWeights == nil && r.LogZ != nil:
		return wrong("filters", len(r.LogZ), p.Calls)
	}
	return nil
}

// Continue draws the samples that a run lacks to n, as [Steerer.Sample] does: the result is the
// same, bit for bit, wherever the run was interrupted. p has what is done, also after an error.
// keep is called after each microbatch, to keep p, and its error ends the run. Nil means no
// callback. Seed, class, reward and method must be those of the samples so far.
//
// It returns the errors of Sample, that of keep, and for a run of other sizes one that wraps
// [ErrPartial].
func (s *Steerer) Continue(ctx context.Context, p *Partial, n int, keep func() error) (*Result, error) {
	if n < 1 || n > 1<<30/s.elements() {
		return nil, fmt.Errorf("%v: %d samples: must lie in [1, %d]", s.method, n, 1<<30/s.elements())
	}
	size := s.microbatch(n)
	if k := s.method.Group(); n%k != 0 {
		return nil, fmt.Errorf("%v: %d samples: must be a multiple of its %d particles", s.method, n, k)
	}
	steps := s.method.Configuration()
	if err := p.check(n, size, s.elements(), (len(steps.Times())-1)*columns); err != nil {
		return nil, fmt.Errorf("%v: %w", s.method, err)
	}
	dims := append([]int{size}, s.model.Shape...)
	noise := tensors.FromFlatDataAndDimensions(make([]float32, size*s.elements()), dims...)
	for p.Size = size; p.Done() < n; {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%v: stopped after %d of %d samples: %w", s.method, p.Done(), n, context.Cause(ctx))
		}
		out, err := s.call(ctx, tensors.FromFlatDataAndDimensions(p.RNG, RNGStateShape.Dimensions...), noise)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s.method, err)
		}
		state, err := tensors.CopyFlatData[uint64](out[4])
		if err == nil {
			err = p.Result.add(out, min(size, n-p.Done()), s.elements(), &p.Series)
		}
		if err != nil {
			return nil, fmt.Errorf("%v: reading the result: %w", s.method, err)
		}
		p.RNG = state
		p.Calls++
		if keep != nil {
			if err := keep(); err != nil {
				return nil, fmt.Errorf("%v: %w", s.method, err)
			}
		}
	}
	r := p.Result
	r.Series = newSeries(steps, p.Series, p.Calls)
	return &r, nil
}

// call draws a microbatch.
func (s *Steerer) call(ctx context.Context, rng, like *tensors.Tensor) (out []*tensors.Tensor, err error) {
	if s.blackBox != nil {
		return s.blackBox.call(ctx, rng, like)
	}
	if panicked := Try(func() { out, err = s.exec.Call(s.label(), rng, like) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	return out, err
}

// elements returns the number of elements of a sample.
func (s *Steerer) elements() int { return batch.Size(s.model.Shape) }
