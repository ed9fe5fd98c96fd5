package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/gomlx/compute"
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
	flat := make([]float32, 0, poolSize*law.Dim())
	for _, x := range p.samples {
		for _, v := range x {
			flat = append(flat, float32(v))
		}
	}
	var err error
	p.rewards, err = rewardsOf(b, model.NewStore(), r, flat, []int{law.Dim()})
	return p, err
}

// tilted returns a function that draws from the pool with weights e^{λ r}. It returns an error where fewer than 1,000 samples count.
func (p *rewardedPool) tilted(lambda float64) (func(rng *rand.Rand, n int) [][]float64, error) {
	w, err := tilt(p.rewards, lambda, 1000)
	if err != nil {
		return nil, err
	}
	floats.CumSum(w, w)
	return func(rng *rand.Rand, n int) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = p.samples[min(sort.SearchFloat64s(w, rng.Float64()), len(w)-1)]
		}
		return out
	}, nil
}
