package steer

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Steerer draws samples of a tilted law on the host's side of the compiled graph: one compiled call for each microbatch of particles, from noise to samples, with no transfer in between (of [NewHosted], two a step). A Steerer is
// for one goroutine at a time.
type Steerer struct {
	// Batch is the largest number of rows that the network sees at a time, over which particles are spread in microbatches; 0 takes 2^17 elements of states, on a GPU 2^20, and 32,768 rows at most. Memory grows with
	// it, not with the number of samples. What a method draws together is not spread: the particles of a set of [SMC] go through the network at once, each with all of its draws, whatever Batch is.
	Batch int

	backend compute.Backend
	store   *model.Store
	model   Model
	reward  reward.Reward
	shape   []int
	method  Method
	exec    *model.Exec // of the whole run; nil where the reward is hosted
	hosted  *hosted
}

// New returns a steerer for samples of the given shape, such as [2] or [28, 28, 1]. store has the weights of model and reward. It returns an error for options that the method's Validate refuses.
func New(b compute.Backend, store *model.Store, m Model, r reward.Reward, shape []int, method Method) (*Steerer, error) {
	s, err := newSteerer(b, store, m, shape, method)
	if err != nil {
		return nil, err
	}
	s.reward = r
	s.exec, err = model.NewExec(b, store, s.build)
	if err != nil {
		return nil, fmt.Errorf("%v: preparing the graph: %w", method, err)
	}
	s.exec.SetMaxCache(-1)
	return s, nil
}

// newSteerer returns a steerer that has no graph yet.
func newSteerer(b compute.Backend, store *model.Store, m Model, shape []int, method Method) (*Steerer, error) {
	if err := method.Validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", method, err)
	}
	if len(shape) == 0 {
		return nil, fmt.Errorf("%v: steering has no shape: give that of one sample, such as [2]", method)
	}
	for _, d := range shape {
		if d < 1 {
			return nil, fmt.Errorf("%v: samples of shape %v: every axis must have a length of at least 1", method, shape)
		}
	}
	return &Steerer{backend: b, store: store, model: m, shape: append([]int(nil), shape...), method: method}, nil
}

// Finalize frees the compiled graphs. The weights stay.
func (s *Steerer) Finalize() {
	if s.hosted != nil {
		s.hosted.finalize()
		return
	}
	s.exec.Finalize()
}

// Result is what a run drew.
type Result struct {
	Samples    []float32 // [n, shape], one after the other
	LogWeights []float64 // of the samples, nil where all are alike
	Rewards    []float64 // r of each sample, λ left out; NaN and +Inf as they came
	LogZ       []float64 // estimates of log E[e^{λ r}], one for each set of particles; nil where the method has none
	Counts     Counts    // of all samples together; those of a last microbatch that is larger than what is wanted count by the share that is
	Series     Series
}

// build builds the graph of a microbatch.
func (s *Steerer) build(_ *model.Scope, rngState, like *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	noise := rng.Normal(like.Shape())
	o := s.method.Build(Problem{Model: s.model, Reward: s.reward}, rng, NewLedger(noise.Graph()), noise)
	n := noise.Shape().Dim(0)
	if !o.X.Shape().Equal(noise.Shape()) {
		Panicf("the method returns samples of shape %s for noise of shape %s", o.X.Shape(), noise.Shape())
	}
	rewards := o.Rewards
	if rewards == nil {
		rewards = s.reward(o.X) // part of the report, not of the method
	}
	if rewards.Rank() != 1 || rewards.Shape().Dim(0) != n {
		Panicf("the reward returns shape %s for %d samples, want [%[2]d]", rewards.Shape(), n)
	}
	return append([]*Node{o.X, rewards}, o.nodes()[1:]...)
}

// nodes returns what the outcome has, in the order in which [Result] takes it.
func (o Outcome) nodes() []*Node {
	if (o.LogWeights == nil) != (o.LogZ == nil) {
		Panicf("the method returns weights without a constant, or a constant without weights: give both or none")
	}
	out := []*Node{o.X, o.Series, o.Ledger.counts, o.Rng.State}
	for _, x := range []*Node{o.LogWeights, o.LogZ} {
		if x != nil {
			out = append(out, x)
		}
	}
	return out
}

// microbatch returns the number of samples of a compiled call, out of n.
func (s *Steerer) microbatch(n int) int {
	if k := s.method.Together(); k > 1 {
		return k
	}
	limit := s.Batch
	if limit == 0 {
		elements := 1 << 17 // what a cache holds
		if backend.GPU(s.backend) {
			elements = 1 << 20
		}
		limit = min(elements/s.elements(), 1<<15)
	}
	limit = max(limit/s.method.Rows(), 1)
	calls := (n + limit - 1) / limit
	for more := calls; more <= 2*calls; more++ {
		if n%more == 0 { // no sample is drawn in vain
			return n / more
		}
	}
	return (n + calls - 1) / calls
}

// Sample draws n samples. n must be a multiple of what the method draws together. progress, which may be nil, is told of the samples that are there.
//
// It returns an error for arguments that do not fit, for weights that the store does not have, and, between two calls of the compiled graph, when ctx ends.
func (s *Steerer) Sample(ctx context.Context, seed int64, n int, progress func(done int)) (*Result, error) {
	if n < 1 || n > 1<<30/s.elements() {
		return nil, fmt.Errorf("%v: %d samples: must lie in [1, %d]", s.method, n, 1<<30/s.elements())
	}
	size := s.microbatch(n)
	if k := s.method.Together(); n%k != 0 {
		return nil, fmt.Errorf("%v: %d samples: must be a multiple of its %d particles", s.method, n, k)
	}
	rng, err := RNGStateFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("%v: seeding: %w", s.method, err)
	}
	noise := tensors.FromFlatDataAndDimensions(make([]float32, size*s.elements()), append([]int{size}, s.shape...)...)
	r := &Result{}
	var series []float64
	calls := 0
	for from := 0; from < n; from += size {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%v: stopped after %d of %d samples: %w", s.method, from, n, context.Cause(ctx))
		}
		out, err := s.call(ctx, rng, noise)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s.method, err)
		}
		keep := min(size, n-from)
		if err := r.add(out, keep, s.elements(), &series); err != nil {
			return nil, fmt.Errorf("%v: reading the result: %w", s.method, err)
		}
		rng = out[4]
		calls++
		if progress != nil {
			progress(from + keep)
		}
	}
	r.Series = newSeries(s.method.Configuration(), series, calls)
	return r, nil
}

// call draws a microbatch.
func (s *Steerer) call(ctx context.Context, rng, like *tensors.Tensor) (out []*tensors.Tensor, err error) {
	if s.hosted != nil {
		return s.hosted.call(ctx, rng, like)
	}
	if panicked := Try(func() { out, err = s.exec.Call(rng, like) }); panicked != nil {
		return nil, fmt.Errorf("building the graph: %v", panicked)
	}
	return out, err
}

// add adds a call's outputs, of which keep samples are wanted, and its series.
func (r *Result) add(out []*tensors.Tensor, keep, elements int, series *[]float64) error {
	samples, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return err
	}
	r.Samples = append(r.Samples, samples[:keep*elements]...)
	rewards, err := tensors.CopyFlatData[float32](out[1])
	if err != nil {
		return err
	}
	r.Rewards = appendFloat64s(r.Rewards, rewards[:keep])
	rows, err := tensors.CopyFlatData[float32](out[2])
	if err != nil {
		return err
	}
	if *series == nil {
		*series = make([]float64, len(rows))
	}
	for i, v := range rows {
		(*series)[i] += float64(v)
	}
	counts, err := tensors.CopyFlatData[int64](out[3])
	if err != nil {
		return err
	}
	drawn := int64(len(rewards))
	for i := range counts {
		counts[i] = counts[i] * int64(keep) / drawn
	}
	r.Counts = r.Counts.Add(Counts{counts[0], counts[1], counts[2], counts[3]})
	if len(out) > 5 {
		logWeights, err := tensors.CopyFlatData[float32](out[5])
		if err != nil {
			return err
		}
		r.LogWeights = appendFloat64s(r.LogWeights, logWeights[:keep])
	}
	if len(out) > 6 {
		logZ, err := tensors.CopyFlatData[float32](out[6])
		if err != nil {
			return err
		}
		r.LogZ = appendFloat64s(r.LogZ, logZ)
	}
	return nil
}

func appendFloat64s(to []float64, from []float32) []float64 {
	for _, v := range from {
		to = append(to, float64(v))
	}
	return to
}

// elements returns the number of elements of a sample.
func (s *Steerer) elements() int {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	return n
}

// Bad returns how many samples have a reward that is NaN or +Inf, and the first of them.
func (r *Result) Bad() (count, first int) {
	first = -1
	for i, v := range r.Rewards {
		if math.IsNaN(v) || math.IsInf(v, 1) {
			if count++; first < 0 {
				first = i
			}
		}
	}
	return count, first
}

// Resampled returns samples that all count alike, as many as there are: those of weighted particles drawn again, by systematic resampling of all sets together after each was given the weight of its Ẑ; others as they are. Where
// the weights are no numbers, as those of a set in which a particle diverged, it returns the samples as they are.
func (r *Result) Resampled(rng *rand.Rand) []float32 {
	if r.LogWeights == nil {
		return r.Samples
	}
	n := len(r.LogWeights)
	elements, each := len(r.Samples)/n, n/max(len(r.LogZ), 1)
	weights, total := make([]float64, n), 0.0
	most := floats.Max(r.LogZ)
	for set, z := range r.LogZ {
		row := r.LogWeights[set*each : (set+1)*each]
		sum := floats.LogSumExp(row)
		for i, w := range row {
			weights[set*each+i] = math.Exp(z - most + w - sum)
			total += weights[set*each+i]
		}
	}
	if !(total > 0) || math.IsInf(total, 1) {
		return r.Samples
	}
	out := make([]float32, 0, len(r.Samples))
	u, sum, i := rng.Float64(), weights[0], 0
	for k := range n {
		for at := (float64(k) + u) / float64(n) * total; sum < at && i < n-1; {
			i++
			sum += weights[i]
		}
		out = append(out, r.Samples[i*elements:(i+1)*elements]...)
	}
	return out
}
