package mixture

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// target is the tilted distribution p₁ e^{λ r}/Z that samples are compared with.
type target struct {
	exact      *steer.Exact // the value; nil unless it is a closed form
	sample     func(rng *rand.Rand, n int) [][]float64
	components *gmm.Mixture // its components are those of [SteeringResult].Weights
	// Those of [steering.Result] and [SteeringResult].
	kl, effective, reward metric.Optional
}

// targetOf returns the target: in closed form for a linear-Gaussian reward, otherwise as samples of
// the mixture that are resampled with weights e^{λ r}.
func (s *Steering) targetOf(b compute.Backend, lambda float64) (*target, error) {
	if s.linear != nil {
		tilted, logZ, err := s.closedForm(lambda)
		if err != nil {
			return nil, err
		}
		exact := steer.FromTilt(s.Mixture, tilted, logZ, s.Model.Interpolant)
		mean := meanReward(tilted, *s.linear)
		return &target{
			exact: &exact, sample: tilted.Sample, components: tilted,
			kl: metric.Some(lambda*mean - logZ), reward: metric.Some(mean),
		}, nil
	}
	if s.pool == nil {
		p, err := newPool(b, s.Mixture, s.Reward)
		if err != nil {
			return nil, err
		}
		s.pool = p
	}
	draw, kl, effective, err := s.pool.tilted(lambda)
	if texts := s.RewardWarnings(lambda); err != nil && texts != nil {
		err = fmt.Errorf("lambda = %g: %s", lambda, texts[0])
	}
	return &target{
		sample: draw, components: s.Mixture, kl: metric.Some(kl), effective: metric.Some(effective),
	}, err
}

// TargetKL returns the divergence of the tilted distribution m e^{λ r}/Z from m, λ E*[r] - log Z,
// in nats. It returns an error unless r is a reward of samples of m and λ is positive.
func TargetKL(m *gmm.Mixture, r reward.LinearGaussian, lambda float64) (float64, error) {
	if err := checkDim(m, r); err != nil {
		return 0, err
	}
	tilted, logZ, err := tilt(m, r, lambda)
	if err != nil {
		return 0, err
	}
	return lambda*meanReward(tilted, r) - logZ, nil
}

// meanReward returns the mean of r over a mixture, Σ_k w_k (r(m_k) - tr(A C_k Aᵀ)/(2 σ²)).
func meanReward(m *gmm.Mixture, r reward.LinearGaussian) float64 {
	mean := 0.0
	for k, w := range m.Weights() {
		center, covariance := m.Component(k)
		trace := 0.0
		for _, a := range r.A {
			for i, row := range covariance {
				trace += a[i] * floats.Dot(row, a)
			}
		}
		mean += w * (r.At(center) - trace/(2*r.Sigma*r.Sigma))
	}
	return mean
}

// closedForm returns the target of the steering's reward and log Z.
func (s *Steering) closedForm(lambda float64) (*gmm.Mixture, float64, error) {
	return tilt(s.Mixture, *s.linear, lambda)
}

// tilt returns m e^{λ r}/Z and log Z. λ r is the reward r with the standard deviation σ/√λ.
func tilt(m *gmm.Mixture, r reward.LinearGaussian, lambda float64) (*gmm.Mixture, float64, error) {
	if !(lambda > 0) {
		return nil, 0, fmt.Errorf("lambda = %g: must be positive, the target is no closed form otherwise", lambda)
	}
	return m.Tilt(r.A, r.Y, r.Sigma/math.Sqrt(lambda))
}

// checkDim returns an error unless r is a reward of samples of m.
func checkDim(m *gmm.Mixture, r reward.LinearGaussian) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if n := len(r.A[0]); n != m.Dim() {
		return fmt.Errorf("the reward is for samples of %d elements, the mixture has %d: use the same", n, m.Dim())
	}
	return nil
}

// flatten returns rows as a flat slice, as tensors take it.
func flatten(rows [][]float64) []float32 {
	var flat []float32
	for _, row := range rows {
		for _, v := range row {
			flat = append(flat, float32(v))
		}
	}
	return flat
}

// pool holds samples of a mixture with their rewards.
type pool struct {
	samples [][]float64
	rewards []float64
}

// poolSize is the number of samples in a pool.
const poolSize = 1 << 18

func newPool(b compute.Backend, m *gmm.Mixture, r reward.Reward) (*pool, error) {
	p := &pool{samples: m.Sample(rand.New(rand.NewPCG(1, 7)), poolSize)}
	var err error
	p.rewards, err = steering.Rewards(b, model.NewStore(), r, flatten(p.samples), []int{m.Dim()}, nil)
	return p, err
}

// tilted returns a function that samples the pool with weights e^{λ r}, their divergence from equal
// weights and the effective number of samples, or an error if that is below 1,000.
func (p *pool) tilted(lambda float64) (
	draw func(rng *rand.Rand, n int) [][]float64, kl, effective float64, err error) {
	w, err := steering.TiltedWeights(p.rewards, lambda, 1000)
	if err != nil {
		return nil, 0, 0, err
	}
	kl, effective = steering.Divergence(w, len(w))
	floats.CumSum(w, w)
	return func(rng *rand.Rand, n int) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = p.samples[min(sort.SearchFloat64s(w, rng.Float64()), len(w)-1)]
		}
		return out
	}, kl, effective, nil
}
