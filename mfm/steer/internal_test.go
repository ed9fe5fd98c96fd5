package steer

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Every kind of resampling gives particle i N w_i offspring in expectation, with the smallest
// possible variance for systematic resampling. Groups do not mix, and particles without weight have
// no offspring.
func TestResampling(t *testing.T) {
	logWeights := [][]float32{{0, -1, 1, -1e30, 0.5}, {-1e30, 2, -1e30, -1e30, 2}}
	const to, repeats = 8, 2000
	for _, kind := range []Resampling{Multinomial, Stratified, Systematic} {
		exec, err := NewExec(backendtest.New(t), func(state, w *Node) []*Node {
			rng := &solver.RNG{State: state}
			return []*Node{kind.ancestors(rng, w, to), rng.State}
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := RNGStateFromSeed(1)
		if err != nil {
			t.Fatal(err)
		}
		var counts, squares [2][5]float64
		for range repeats {
			out, err := exec.Call(state, logWeights)
			if err != nil {
				t.Fatal(err)
			}
			state = out[1]
			var here [2][5]float64
			for i, a := range tensors.MustCopyFlatData[int32](out[0]) {
				here[i/to][a]++
			}
			for group := range here {
				for i, v := range here[group] {
					counts[group][i] += v / repeats
					squares[group][i] += v * v / repeats
				}
			}
		}
		for group, row := range logWeights {
			total := 0.0
			for _, l := range row {
				total += math.Exp(float64(l))
			}
			for i, l := range row {
				want := to * math.Exp(float64(l)) / total
				variance := squares[group][i] - counts[group][i]*counts[group][i]
				if se := math.Sqrt(variance / repeats); math.Abs(counts[group][i]-want) > 4*se+1e-5 {
					t.Errorf("%s: particle %d of group %d has %.3f ± %.3f offspring, want %.3f",
						kind, i, group, counts[group][i], se, want)
				}
				if frac := want - math.Floor(want); kind == Systematic && variance > frac*(1-frac)+0.02 {
					t.Errorf("systematic: variance %.3f of the offspring of particle %d, want %.3f",
						variance, i, frac*(1-frac))
				}
			}
		}
	}
}

// The jackknife agrees with its definition.
func TestJackknife(t *testing.T) {
	rewards := []float32{0.3, -1, 2, 0.1}
	exec, err := NewExec(backendtest.New(t), func(r *Node) []*Node {
		return []*Node{jackknifed(r), jackknifedWeights(weights(r)), batch.LogMeanExp(r)}
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call([][]float32{rewards})
	if err != nil {
		t.Fatal(err)
	}
	n := float64(len(rewards))
	sum := func(without int, f func(i int) float64) (s float64) {
		for i := range rewards {
			if i != without {
				s += f(i)
			}
		}
		return s
	}
	e := func(i int) float64 { return math.Exp(float64(rewards[i])) }
	plain := math.Log(sum(-1, e) / n)
	want := n * plain
	for i := range rewards {
		want -= (n - 1) / n * math.Log(sum(i, e)/(n-1))
	}
	if got := float64(tensors.MustCopyFlatData[float32](out[0])[0]); math.Abs(got-want) > 1e-5 {
		t.Errorf("jackknifed value %g, want %g", got, want)
	}
	if got := float64(tensors.MustCopyFlatData[float32](out[2])[0]); math.Abs(got-plain) > 1e-6 {
		t.Errorf("value %g, want %g", got, plain)
	}
	for j, got := range tensors.MustCopyFlatData[float32](out[1]) {
		want := n * e(j) / sum(-1, e)
		for i := range rewards {
			if i != j {
				want -= (n - 1) / n * e(j) / sum(i, e)
			}
		}
		if math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("weight %d is %g, want %g", j, got, want)
		}
	}
}

// The jackknife is accurate for large rewards: its correction is formed without multiples of the
// value, which would leave nothing of it in float32.
func TestJackknifeOfLargeRewards(t *testing.T) {
	const n, offset = 512, -1 << 20 // float32 adds this power of two to halves without rounding
	rewards, exact := make([]float32, n), make([]float64, n)
	total := 0.0
	for i := range rewards {
		exact[i] = float64(i%16) / 2
		rewards[i] = float32(exact[i] + offset)
		total += math.Exp(exact[i])
	}
	plain := math.Log(total / n)
	want := n * plain
	for _, r := range exact {
		want -= (n - 1.0) / n * math.Log((total-math.Exp(r))/(n-1))
	}
	exec, err := NewExec(backendtest.New(t), func(r *Node) *Node { return jackknifed(r) })
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call1([][]float32{rewards})
	if err != nil {
		t.Fatal(err)
	}
	// The spacing of float32 at the offset is 1/16.
	if got := float64(tensors.MustCopyFlatData[float32](out)[0]) - offset; math.Abs(got-want) > 0.07 {
		t.Errorf("jackknifed value %g above the offset, want %g", got, want)
	}
}

// The table of steps includes the schedule of λ and the bound on σ_t²/2, and renormalization gives
// a steering term its length.
func TestSteps(t *testing.T) {
	c := DefaultConfig()
	c.Steps, c.Lambda, c.LambdaPower, c.Cap = 10, 3, 2, 4
	ip := interpolant.Linear{}
	for k, s := range c.steps(ip) {
		at := max(c.Times()[k], c.Start)
		if want := 3 * at * at; math.Abs(s.lambda-want) > 1e-12 {
			t.Errorf("step %d: λ_t = %g, want %g", k, s.lambda, want)
		}
		if want := s.drift * min((1-at)/at, 4); math.Abs(s.steer-want) > 1e-12 {
			t.Errorf("step %d: the factor of the steering is %g, want %g", k, s.steer, want)
		}
	}
	steering, base := [][]float64{{3, 4}, {0.3, 0.4}}, [][]float64{{0, 2}, {1, 0}}
	for kind, want := range map[Renormalization][]float64{
		NoRenormalization: {5, 0.5}, RescaleLength: {1, 0.5}, ClipLength: {1, 0.5},
	} {
		c := DefaultConfig()
		c.Renormalization, c.Ratio = kind, 0.5
		if kind == ClipLength { // the second term is below the bound
			c.Ratio, want = 0.6, []float64{1.2, 0.5}
		}
		exec, err := NewExec(backendtest.New(t), func(steering, base *Node) *Node {
			return norm(c.renormalized(steering, base))
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call1(steering, base)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range tensors.MustCopyFlatData[float64](out) {
			if math.Abs(got-want[i]) > 1e-12 {
				t.Errorf("%s: length %g, want %g", kind, got, want[i])
			}
		}
	}
}

// Renormalization keeps its length in float32 for steering terms whose squares underflow or
// overflow. One without a direction is zero.
func TestRenormalizedTinySteering(t *testing.T) {
	steering := [][]float32{{3e-20, 4e-20}, {3e-25, -4e-25}, {3e-29, 4e-29}, {3e20, 4e20}, {3e-33, 4e-33}, {0, 0}}
	base := slices.Repeat([][]float32{{0, 2}}, len(steering))
	for kind, want := range map[Renormalization][]float64{
		RescaleLength: {1, 1, 1, 1, 0, 0}, ClipLength: {5e-20, 5e-25, 5e-29, 1, 0, 0},
	} {
		c := DefaultConfig()
		c.Renormalization, c.Ratio = kind, 0.5
		exec, err := NewExec(backendtest.New(t), func(steering, base *Node) *Node {
			return c.renormalized(steering, base)
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call1(steering, base)
		if err != nil {
			t.Fatal(err)
		}
		flat := tensors.MustCopyFlatData[float32](out)
		for i, want := range want {
			got := math.Hypot(float64(flat[2*i]), float64(flat[2*i+1]))
			if math.Abs(got-want) > 1e-6*want {
				t.Errorf("%s: a steering term %v of length %g, want %g", kind, steering[i], got, want)
			}
		}
	}
}

// Warnings report what a series shows, and nothing of posterior samples for a method that draws
// none.
func TestWarnings(t *testing.T) {
	s := Series{Times: []float64{0, 0.5}, Ratio: []float64{20, 1}, Effective: []float64{0, 0}, Bad: []float64{0, 0}}
	const ratio = "the steering is longer than 10 times the base at 1 of 2 steps, first at t = 0 (20): use more " +
		"steps, a smaller λ, or clipping"
	if w := s.Warnings(DefaultThresholds(), 8); len(w) != 1 || w[0] != ratio {
		t.Errorf("%q, want %q alone", w, ratio)
	}
	s.Effective = []float64{3, 1.2}
	s.Bad[1] = 1
	if w := s.Warnings(DefaultThresholds(), 8); len(w) != 3 {
		t.Errorf("%q, want three", w)
	}
	healthy := Series{
		Times: []float64{0, 0.1, 0.3, 0.6, 0.9}, Ratio: []float64{1, 1, 1, 1, 1},
		Effective: []float64{3, 3, 3, 3, 3}, Std: []float64{2, 2, 1, 0.3, 0.01},
		Reward: []float64{-50, -30, -31, -5, -1}, Bad: make([]float64, 5),
		Particles: []float64{0, 0.5, 0.4, 0.5, 0.9},
	}
	if w := healthy.Warnings(DefaultThresholds(), 8); len(w) != 0 {
		t.Errorf("a healthy run has the warnings %q", w)
	}
	for name, change := range map[string]func(s *Series){
		"the growth of λ is no fall of the reward": func(s *Series) {
			s.Reward, s.Lambda = []float64{-0.1, -1, -3, -6, -9}, []float64{0.01, 0.1, 0.3, 0.6, 0.9}
		},
		"no sample has a reward yet": func(s *Series) { s.Reward = []float64{0, 0, -31, -5, -1} },
	} {
		s := healthy
		change(&s)
		if w := s.Warnings(DefaultThresholds(), 8); len(w) != 0 {
			t.Errorf("%s: %q", name, w)
		}
	}
	const narrow = "the standard deviation of a state's posterior samples is at most 0.02 of that in the " +
		"second step at "
	const fall = "the mean reward of the posterior samples is more than 3 nats below its largest value so far at "
	for want, change := range map[string]func(s *Series){
		narrow + "1 of 5 steps, first at t = 0.3 (0.03)": func(s *Series) {
			s.Std = []float64{2, 2, 0.03, 0.01, 0.01}
		},
		narrow + "2 of 5 steps, first at t = 0.1 (0)": func(s *Series) { s.Std = make([]float64, 5) },
		fall + "1 of 5 steps, first at t = 0.6 (-40)": func(s *Series) {
			s.Reward = []float64{-50, -30, -31, -40, -35}
		},
		"less than 0.05 of the particles carry the weight at 1 of 5 steps, first at t = 0.3 (0.01)": func(s *Series) {
			s.Particles = []float64{0, 0.5, 0.01, 0.5, 0.9}
		},
	} {
		s := healthy
		change(&s)
		if w := s.Warnings(DefaultThresholds(), 8); len(w) != 1 || !strings.HasPrefix(w[0], want+": ") {
			t.Errorf("%q, want one that begins with %q", w, want)
		}
	}
}

// The gradient of MFM-GF is accurate near t = 1. There samples and weights are nearly equal, and
// the difference of two means, of order (1-t)², is below the resolution of float32; deviations from
// the mean resolve it.
func TestGradientFreeNearTheData(t *testing.T) {
	const states, count, dim = 64, 32, 2
	m := MFMGF{PosteriorSamples: PosteriorSamples{N: count}, Baseline: MeanBaseline}
	rng := rand.New(rand.NewPCG(1, 2))
	for s, tolerance := range map[float64]float64{1e-3: 1e-4, 1e-4: 1e-3} {
		at := float32(1 - s)
		samples, rewards := make([]float32, states*count*dim), make([]float32, states*count)
		want := make([]float64, states*dim)
		for i := range states {
			center := [dim]float64{3 * rng.NormFloat64(), 3 * rng.NormFloat64()}
			total, weights, mean := 0.0, make([]float64, count), [dim]float64{}
			for j := range count {
				k := i*count + j
				for a := range dim {
					samples[k*dim+a] = float32(center[a] + s*rng.NormFloat64())
					mean[a] += float64(samples[k*dim+a]) / count
				}
				rewards[k] = float32(1.2*float64(samples[k*dim]) - 0.8*float64(samples[k*dim+1]))
				weights[j] = math.Exp(float64(rewards[k]))
				total += weights[j]
			}
			scale := float64(at) / math.Pow(1-float64(at), 2)
			for j := range count {
				for a := range dim {
					want[i*dim+a] += scale * weights[j] / total * (float64(samples[(i*count+j)*dim+a]) - mean[a])
				}
			}
		}
		p := Problem{Model: Model{Interpolant: interpolant.Linear{}}}
		exec, err := NewExec(backendtest.New(t), func(samples, rewards, at *Node) *Node {
			x := Zeros(samples.Graph(), shapes.Make(dtypes.Float32, states, dim))
			return m.combine(p, samples, rewards, ZerosLike(at), at, x, nil, true).Gradient
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(tensors.FromFlatDataAndDimensions(samples, states*count, dim),
			tensors.FromFlatDataAndDimensions(rewards, states, count), slices.Repeat([]float32{at}, states))
		if err != nil {
			t.Fatal(err)
		}
		var off, size float64
		for i, v := range tensors.MustCopyFlatData[float32](out[0]) {
			off += math.Pow(float64(v)-want[i], 2)
			size += want[i] * want[i]
		}
		if e := math.Sqrt(off / size); !(e < tolerance) {
			t.Errorf("at 1 - t = %g the relative error of the gradient is %.2g, want less than %g", s, e, tolerance)
		}
	}
}

// Node returns the counts so far, int64 [4] in the order of [Counts].
func (c *Counter) Node() *Node { return c.counts }

// FuzzPartial checks that any file of a run in progress gives an error, or a run that resumes: its
// samples are resampled and its series read.
func FuzzPartial(f *testing.F) {
	const n, size, elements = 24, 8, 2
	c := DefaultConfig()
	c.Steps = 3
	series := c.Steps * columns
	for _, calls := range []int{0, 2, 3} {
		p, err := Begin(1)
		if err != nil {
			f.Fatal(err)
		}
		p.Calls, p.Size = calls, size
		for weighted := range 2 {
			if calls > 0 {
				p.Series = make([]float64, series)
				p.Result.Samples, p.Result.Rewards = make([]float32, calls*size*elements), make([]float64, calls*size)
			}
			if weighted == 1 {
				p.Result.LogWeights, p.Result.LogZ = make([]float64, calls*size), make([]float64, calls)
			}
			if err := p.check(n, size, elements, series); (err == nil) != (calls > 0 || weighted == 0) {
				f.Fatalf("%d calls: %v", calls, err)
			}
			var raw bytes.Buffer
			if err := gob.NewEncoder(&raw).Encode(p); err != nil {
				f.Fatal(err)
			}
			f.Add(raw.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Partial
		const chunk = 16 << 20 // package gob allocates as much for a message before it reads it
		err := fuzztest.Read(t, chunk/64+len(raw), 64, func() error {
			if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&p); err != nil {
				return err
			}
			return p.check(n, size, elements, series)
		})
		if err != nil || p.Done() == 0 {
			return
		}
		if s := newSeries(c, p.Series, p.Calls); len(s.Ratio) != c.Steps {
			t.Errorf("%d steps, want %d", len(s.Ratio), c.Steps)
		}
		if got := p.Result.Resampled(rand.New(rand.NewPCG(1, 1))); len(got) != len(p.Result.Samples) {
			t.Errorf("%d values, want %d", len(got), len(p.Result.Samples))
		}
	})
}
