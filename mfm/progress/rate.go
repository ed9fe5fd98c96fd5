package progress

import (
	"math"
	"time"
)

// Rate estimates the number of steps per second from observations at any times. It is an
// exponentially weighted mean over the past: with r(t) the rate at time t and now = 0,
//
//	∫ r(t) e^(t/memory) dt / ∫ e^(t/memory) dt,
//
// which equals the rate exactly if the rate is constant. It omits the time up to the first observed
// progress, because graphs are compiled in the first step.
type Rate struct {
	memory time.Duration
	now    func() time.Time

	started bool      // Observe was called
	moving  bool      // an observation had more steps than the first
	last    time.Time // time of the last observation that counted
	step    int64     // steps at that time
	steps   float64   // the numerator
	seconds float64   // the denominator
}

// NewRate returns an estimator with the given memory, on the clock now. It panics unless memory >
// 0.
func NewRate(memory time.Duration, now func() time.Time) *Rate {
	if memory <= 0 {
		panic("progress: memory of a rate is " + memory.String() + ", must be positive")
	}
	return &Rate{memory: memory, now: now}
}

// Observe records that step steps are done at the current time. The first call sets the starting
// point, so that a resumed run has its own rate; so does a call with fewer steps than before.
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
		return // the next observation counts these steps
	}
	memory := r.memory.Seconds()
	decay := math.Exp(-elapsed / memory)
	weight := memory * (1 - decay)
	r.steps = r.steps*decay + float64(step-r.step)/elapsed*weight
	r.seconds = r.seconds*decay + weight
	r.last, r.step = now, step
}

// PerSecond returns the rate in steps per second, 0 if it is not known yet.
func (r *Rate) PerSecond() float64 {
	if r.seconds == 0 {
		return 0
	}
	return r.steps / r.seconds
}

// Left returns the time from the last observation until total steps are done at the present rate.
// The second result is false if no steps are timed yet, or if the time exceeds a century.
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
