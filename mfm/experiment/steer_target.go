package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// steeringTarget is the tilted law p₁ e^{λ r}/Z that samples are compared with.
type steeringTarget struct {
	exact      *steer.Exact // the value; nil where it is no closed form
	sample     func(rng *rand.Rand, n int) [][]float64
	components *gmm.Mixture // whose shares are the weights in a row
}

// targetOf returns the target: in closed form for a linear-Gaussian reward, otherwise as samples of the law that are drawn again with weights e^{λ r}.
func (s *Steering) targetOf(b compute.Backend, lambda float64) (*steeringTarget, error) {
	if s.linear != nil {
		target, logZ, err := s.closedForm(lambda)
		if err != nil {
			return nil, err
		}
		exact := steer.FromTilt(s.Law, target, logZ, s.Model.Interpolant)
		return &steeringTarget{&exact, target.Sample, target}, nil
	}
	if s.pool == nil {
		pool, err := newRewardedPool(b, s.Law, s.Reward)
		if err != nil {
			return nil, err
		}
		s.pool = pool
	}
	draw, err := s.pool.tilted(lambda)
	return &steeringTarget{nil, draw, s.Law}, err
}

// closedForm returns p₁ e^{λ r}/Z and log Z: a reward times λ is that of a deviation σ/√λ.
func (s *Steering) closedForm(lambda float64) (*gmm.Mixture, float64, error) {
	if !(lambda > 0) {
		return nil, 0, fmt.Errorf("lambda = %g: the target is a closed form for positive factors", lambda)
	}
	return s.Law.Tilt(s.linear.A, s.linear.Y, s.linear.Sigma/math.Sqrt(lambda))
}

// rewardedPool are samples of a law with their rewards.
type rewardedPool struct {
	samples [][]float64
	rewards []float64
}

// poolSize is the number of samples of the law that stand for it where the target is no closed form.
const poolSize = 1 << 18

func newRewardedPool(b compute.Backend, law *gmm.Mixture, r reward.Reward) (*rewardedPool, error) {
	p := &rewardedPool{samples: law.Sample(rand.New(rand.NewPCG(1, 7)), poolSize)}
	exec, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, x *Node) *Node {
		usable, _ := reward.Usable(r(x))
		return usable
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the reward: %w", err)
	}
	defer exec.Finalize()
	flat := make([]float32, 0, poolSize*law.Dim())
	for _, x := range p.samples {
		for _, v := range x {
			flat = append(flat, float32(v))
		}
	}
	out, err := exec.Call1(tensors.FromFlatDataAndDimensions(flat, poolSize, law.Dim()))
	if err != nil {
		return nil, fmt.Errorf("rewarding samples of the law: %w", err)
	}
	rewards, err := tensors.CopyFlatData[float32](out)
	if err != nil {
		return nil, fmt.Errorf("rewarding samples of the law: %w", err)
	}
	for _, r := range rewards {
		p.rewards = append(p.rewards, float64(r))
	}
	return p, nil
}

// tilted returns a function that draws from the pool with weights e^{λ r}. It returns an error where fewer than 1,000 samples count, (Σ w)²/Σ w²: the target is then too far from the law for the pool to show it.
func (p *rewardedPool) tilted(lambda float64) (func(rng *rand.Rand, n int) [][]float64, error) {
	w := make([]float64, len(p.rewards))
	floats.ScaleTo(w, lambda, p.rewards)
	most := floats.Max(w)
	sum, squares := 0.0, 0.0
	for i := range w {
		w[i] = math.Exp(w[i] - most)
		sum += w[i]
		squares += w[i] * w[i]
	}
	if effective := sum * sum / squares; !(effective >= 1000) {
		return nil, fmt.Errorf("lambda = %g: of %d samples of the law some %.0f count under this reward, which are too few to compare with: take a smaller λ or a wider reward", lambda, len(w), effective)
	}
	floats.CumSum(w, w)
	return func(rng *rand.Rand, n int) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			u := rng.Float64() * sum
			out[i] = p.samples[min(sort.SearchFloat64s(w, u), len(w)-1)]
		}
		return out
	}, nil
}
