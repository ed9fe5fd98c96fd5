package mfm_test

import (
	"context"
	"math"
	"testing"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// The map and its ODE carry given noise to where the flow map of the posterior does in closed form.
func TestFromNoise(t *testing.T) {
	mixture, ip, ctx := mfmtest.Gaussian(t), interpolant.Linear{}, context.Background()
	m := mfm.Model{
		Map: mfmtest.ExactMap(t, mixture, ip), Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2},
	}
	noise, x := []float32{0.4, -1.3, 2, 0.1, -0.7, 0.9}, []float32{0.9, -1.1, -2, 0.3, 0, 1.5}
	for method, tolerance := range map[mfm.Sampling]float64{mfm.MapSampling: 1e-4, mfm.ODESampling: 2e-3} {
		config := mfm.DefaultSamplerConfig()
		config.Method = method
		if method == mfm.ODESampling {
			config.Grid.Steps = 64
		}
		s, err := mfm.NewSampler(backendtest.New(t), m, config)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		const at = 0.4
		got, err := mfm.Flat(s.FromNoise(ctx, states(noise, 2), at, states(x, 2), nil))
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range mfm.Rows(got, 2) {
			context := []float64{float64(x[2*i]), float64(x[2*i+1])}
			want, err := mixture.Posterior(ip, at, context).FlowMap(ip, 0, 1, []float64{float64(noise[2*i]), float64(noise[2*i+1])})
			if err != nil {
				t.Fatal(err)
			}
			for k := range want {
				if math.Abs(row[k]-want[k]) > tolerance {
					t.Errorf("%s: sample %d is %v, want %v", method, i, row, want)
				}
			}
		}
		if _, err := s.FromNoise(ctx, states(noise[:4], 2), at, states(x, 2), nil); err == nil {
			t.Errorf("%s: no error for two noises and three contexts", method)
		}
	}
	config := mfm.DefaultSamplerConfig()
	config.Method, config.Grid.Steps = mfm.SDESampling, 8
	s, err := mfm.NewSampler(backendtest.New(t), m, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FromNoise(ctx, states(noise, 2), 0.4, states(x, 2), nil); err == nil {
		t.Error("no error for the SDE")
	}
}
