package image

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// TemperatureSetting evaluates estimates of ∇V_t of a reward of a classifier, whose logits are
// divided by a temperature.
type TemperatureSetting struct {
	// Temperature is τ, at least 1; see Tempered of package reward.
	Temperature float64 `json:"temperature"`
	GradientConfig
	Fingerprint string `json:"fingerprint"` // of map, reward and images without the temperature
}

// Validate returns an error that names the first value out of range.
func (s TemperatureSetting) Validate() error {
	if !(s.Temperature >= 1) {
		return fmt.Errorf("temperature = %g: must be at least 1", s.Temperature)
	}
	return s.GradientConfig.Validate()
}

// TemperatureResult has the results of a setting.
type TemperatureResult struct {
	TemperatureSetting
	Estimates []GradientResult `json:"estimates"`
}

// TemperatureGrid returns the settings of the measurement on the results page.
func TemperatureGrid() (settings []TemperatureSetting) {
	for _, temperature := range []float64{1, 4} {
		settings = append(settings, TemperatureSetting{
			Temperature:    temperature,
			GradientConfig: GradientConfig{Times: []float64{0.2}, Ns: []int{8, 32}, States: 8, Samples: 1024, Seed: 1},
		})
	}
	return settings
}

// TemperedGradients is [Steering.Gradients] with the reward at another temperature. The reward must
// be of a kind that refers to a classifier. The states are interpolants of images of the target of
// the tempered reward.
func (s *Steering) TemperedGradients(
	ctx context.Context, b compute.Backend, setting TemperatureSetting,
) (TemperatureResult, error) {
	r := TemperatureResult{TemperatureSetting: setting}
	var of map[string]any
	err := json.Unmarshal(s.config.Reward, &of)
	if err != nil {
		return r, fmt.Errorf("reward: %w", err)
	}
	if old, found := of["temperature"]; found {
		return r, fmt.Errorf("the reward has the temperature %v, and the setting %g: leave it out of the reward", old,
			setting.Temperature)
	}
	of["temperature"] = setting.Temperature
	tempered, err := s.WithReward(b, digitsReward(of))
	if err != nil {
		return r, fmt.Errorf("temperature %g: %w", setting.Temperature, err)
	}
	r.Estimates, err = tempered.Gradients(ctx, b, setting.GradientConfig)
	return r, err
}

// Shares are effective numbers of the posterior samples X_1, ..., X_N of an estimate, divided by N:
// (Σ_i |g_i|)²/(N Σ_i |g_i|²), which is 1 if all |g_i| are equal and 1/N if one sample has all; 0
// if all g_i are 0. Each is the mean over states and estimates.
type Shares struct {
	Weights float64 `json:"weights"` // g_i = w_i, the weights softmax(r(X_i))
	// Reward has g_i = w_i ∇r(X_i), which does not depend on the Jacobian of the map.
	Reward float64 `json:"reward"`
	// Estimate has g_i = w_i J_iᵀ ∇r(X_i), the terms of MFM-G, where J_i is the Jacobian of X_i in
	// the state.
	Estimate float64 `json:"estimate"`
}

// term is what a posterior sample X contributes to an estimate of MFM-G, without its weight.
type term struct {
	reward    float64 // r(X)
	gradient  float64 // |∇r(X)|
	throughIt float64 // |Jᵀ ∇r(X)|
}

// terms returns those of all posterior samples at each state, [states][samples].
func (g *gradientsAt) terms(b compute.Backend) ([][]term, error) {
	out := make([][]term, g.config.States)
	none := slices.Repeat([][]float64{{0}}, g.config.States)
	err := g.each(b, gradientChunk, none, func(p steer.Problem, rng *solver.RNG, t, x, _ *Node) *Node {
		x = Identity(x) // a copy of the state for each sample
		samples, rewards, _ := steer.PosteriorSamples{N: 1}.Draw(p, rng, steer.NewCounter(x.Graph()), t, x)
		columns := []*Node{Reshape(rewards, -1)}
		for _, d := range Gradient(ReduceAllSum(rewards), samples, x) {
			columns = append(columns, Sqrt(ReduceSum(Square(Reshape(d, gradientChunk, -1)), 1)))
		}
		return Stack(columns, 1)
	}, func(k int, values []float32) {
		for _, v := range mfm.Rows(values, 3) {
			out[k] = append(out[k], term{v[0], v[1], v[2]})
		}
	})
	return out, err
}

// sharesOf returns the shares of estimates from n of the terms at each state.
func sharesOf(terms [][]term, n int) Shares {
	var shares [3][]float64
	for _, all := range terms {
		for estimate := range slices.Chunk(all, n) {
			most := math.Inf(-1)
			for _, v := range estimate {
				most = max(most, v.reward)
			}
			var lengths [3][]float64
			for _, v := range estimate {
				w := math.Exp(v.reward - most)
				for i, length := range []float64{w, w * v.gradient, w * v.throughIt} {
					lengths[i] = append(lengths[i], length)
				}
			}
			for i := range shares {
				shares[i] = append(shares[i], effectiveShare(lengths[i]))
			}
		}
	}
	return Shares{stat.Mean(shares[0], nil), stat.Mean(shares[1], nil), stat.Mean(shares[2], nil)}
}

// effectiveShare returns (Σv)²/(N Σv²) of N values v >= 0, and 0 if all are 0.
func effectiveShare(values []float64) float64 {
	sum, squares := floats.Sum(values), floats.Dot(values, values)
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(values)) * squares)
}
