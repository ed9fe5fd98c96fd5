package main

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

func gaussianTask() task {
	return task{name: "gaussian", about: "a Gaussian, in closed form", steer: gaussianSteering().build}
}

// gaussianSteering steers the exact flow map of N(0, I) to a linear reward.
func gaussianSteering() steerTask[gaussian.Result] {
	type result = gaussian.Result
	return steerTask[result]{
		samples: 4096, steps: 100,
		open: func(c *command) func(name, reward string) (steering.Task[result], string, error) {
			var p gaussian.Problem
			c.Flags().IntVar(&p.Dim, "dim", 2, "`number` of dimensions")
			c.Flags().Float64Var(&p.KL, "kl", 4,
				"divergence of the tilted distribution from the data for λ = 1, in `nats`, instead of a reward")
			_ = c.Flags().MarkHidden("reward") // the flag is there
			return func(name, reward string) (steering.Task[result], string, error) {
				if reward != "paper" {
					return nil, "", fmt.Errorf("--reward %s: the reward of a Gaussian is linear: use --kl", reward)
				}
				t, err := gaussian.New(p)
				if err != nil {
					return nil, "", err
				}
				t.RewardName = name
				return t, t.Fingerprint, nil
			}
		},
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any { return []any{r.Mean, r.Std, r.Reached, r.W2, r.Floor} },
			"mean %.3f", "std %.3f", "reached %.3f", "w2 %.4f", "floor %.4f"),
	}
}
