package main

import (
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/mfm"
)

// guidance is guidance of samples toward a class.
type guidance struct {
	Scale float64 `json:"scale"`
	From  float64 `json:"from"` // a step is guided if it starts in [From, To)
	To    float64 `json:"to"`
	// By is "network" if the network was trained with the scale and guides in one evaluation, and
	// "classifier-free" if the drifts with and without class are combined, in two.
	By  string `json:"by"`
	NFE int    `json:"nfe"` // evaluations of the network per sample
}

// withGuidance adds the flags of guidance and returns their values.
func (c *command) withGuidance() *guidance {
	f, g := c.Flags(), new(guidance)
	f.Float64Var(&g.Scale, "guidance", 1, "`scale` of guidance toward --class, in one evaluation if the network was "+
		"trained with it, otherwise classifier-free, in two; more --steps follow it better")
	f.Float64Var(&g.From, "guidance-from", 0, "`time` in [0, 1), from noise at 0 to data at 1, from which guidance "+
		"acts: on the steps that start there or later")
	f.Float64Var(&g.To, "guidance-to", 1, "`time` in (0, 1] until which guidance acts: on the steps that start "+
		"before it")
	return g
}

// of returns the guided model, and an error for flags that do not fit it or how it is sampled.
func (g *guidance) of(m mfm.Model, sampling mfm.SamplerConfig) (mfm.Model, error) {
	starts := sampling.Times(0, 1)[:sampling.Steps]
	switch {
	case !(g.From >= 0 && g.From < g.To && g.To <= 1):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: the times must increase, and lie in [0, 1]",
			g.From, g.To)
	case g.Scale == 1 && (g.From > 0 || g.To < 1):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: give a --guidance other than 1", g.From, g.To)
	case sampling.Method != mfm.SDESampling && !slices.ContainsFunc(starts, func(s float64) bool {
		return float32(s) >= float32(g.From) && float32(s) < float32(g.To)
	}):
		return m, fmt.Errorf("--guidance-from = %g, --guidance-to = %g: no step of %d starts in between: "+
			"use more --steps", g.From, g.To, sampling.Steps)
	}
	guided, err := m.GuidedWithin(g.Scale, g.From, g.To)
	if err != nil {
		return m, fmt.Errorf("--guidance: %w", err)
	}
	g.By, g.NFE = "classifier-free", sampling.NFE()*guided.Map.NFE()
	if slices.Contains(m.Scales, g.Scale) {
		g.By = "network"
	}
	return guided, nil
}

// result returns the guidance, or nil if there is none.
func (g *guidance) result() *guidance {
	if g.Scale == 1 {
		return nil
	}
	return g
}

// String returns a text that follows a description of the samples.
func (g *guidance) String() string {
	if g.Scale == 1 {
		return ""
	}
	within := ""
	if g.From > 0 || g.To < 1 {
		within = fmt.Sprintf(" from s = %g to %g", g.From, g.To)
	}
	return fmt.Sprintf(", guided by %g%s (%s, NFE %d)", g.Scale, within, g.By, g.NFE)
}
