package tune_test

import (
	"context"
	"fmt"
	"log"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// knownValue is an objective of one's own. It regresses the correction on (σ_t²/2) ∇V_t with the
// known gradient of the value ∇V_t(x) = t/((1-t)² + t²).
type knownValue struct{}

func (knownValue) String() string      { return "known-value" }
func (knownValue) Needs() tune.Needs   { return tune.Needs{} }
func (knownValue) NFE(steer.Model) int { return 1 }
func (knownValue) Validate() error     { return nil }

func (knownValue) Regress(p tune.Problem, _ *solver.RNG, s tune.States) tune.Regressand {
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	gradient := Div(s.T, Add(Square(OneMinus(s.T)), Square(s.T)))
	return tune.Regressand{Vector: InsertAxes(Mul(half, gradient), -1)}
}

// An objective of one's own implements Objective: it builds the condition E[Weight] D = E[Vector]
// on the correction D of the drift.
func ExampleObjective() {
	b, err := backend.New("go")
	if err != nil {
		log.Fatal(err)
	}
	tuner, err := tune.New(b, normalTask(knownValue{}), normalConfig())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tuner.Run(ctx); err != nil {
		log.Fatal(err)
	}
	e, err := tuner.Evaluate(ctx, tune.PathConfig{Paths: 2000, Steps: 50, Start: 0.02}, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("mean reward %.1f, divergence from the base %.1f nats\n", e.Reward, e.KL)
	// Output:
	// mean reward 1.0, divergence from the base 0.5 nats
}
