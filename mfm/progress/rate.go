package progress

import (
	"math"
	"time"
)

// Rate estimates how many steps a second are done, from observations at any times. It is a mean over the past that
// forgets exponentially: with r(t) the rate at time t and now = 0,
//
//	∫ r(t) e^(t/memory) dt / ∫ e^(t/memory) dt,
//
// which at a steady rate is exactly that rate. The time up to the first observed progress is left out: the first step
// is where graphs are compiled.
type Rate struct {
	memory time.Duration
	now    func() time.Time

	started bool      // there was an observation
	moving  bool      // and one with more steps
	last    time.Time // of the last observation that counted
	step    int64     // at that time
	steps   float64   // the first integral
	seconds float64   // the second one
}

// NewRate returns an estimator that forgets over memory, a positive duration, by the given clock. It panics on another
// memory.
func NewRate(memory time.Duration, now func() time.Time) *Rate {
	if memory <= 0 {
		panic("progress: the memory of a rate must be positive, it is " + memory.String())
	}
	return &Rate{memory: memory, now: now}
}

// Observe says that step steps are done by now. The first call sets where counting starts, so that a resumed run's rate
// is its own; so does a call with fewer steps than the one before.
func (r *Rate) Observe(step int64) {
	now := r.now()
	if !r.started || step < r.step {
		*r = Rate{memory: r.memory, now: r.now, started: true, last: now, step: step}
		return
	}
	if !r.moving {
		r.moving = step > r.step
		r.last, r.step = now, step
		return
	}
	elapsed := now.Sub(r.last).Seconds()
	if elapsed <= 0 {
		return // counted by the next observation
	}
	memory := r.memory.Seconds()
	decay := math.Exp(-elapsed / memory)
	weight := memory * (1 - decay)
	r.steps = r.steps*decay + float64(step-r.step)/elapsed*weight
	r.seconds = r.seconds*decay + weight
	r.last, r.step = now, step
}

// PerSecond returns the rate in steps a second, 0 where it is not known yet.
func (r *Rate) PerSecond() float64 {
	if r.seconds == 0 {
		return 0
	}
	return r.steps / r.seconds
}

// Left returns the time until total steps are done at the present rate, counted from the last observation, and whether
// it can be told: not before some steps are timed, nor where it is over a century.
func (r *Rate) Left(total int64) (time.Duration, bool) {
	perSecond := r.PerSecond()
	if perSecond <= 0 {
		return 0, false
	}
	const century = 100 * 365.25 * 24 * 3600
	seconds := float64(max(total-r.step, 0)) / perSecond
	if seconds > century {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
