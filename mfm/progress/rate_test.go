package progress

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func requireRate(t *testing.T, r *Rate, want float64) {
	t.Helper()
	if got := r.PerSecond(); math.Abs(got-want) > 1e-9*math.Max(1, want) {
		t.Errorf("%v steps/s, want %v", got, want)
	}
}

// TestRateSteady checks that the estimate of a constant rate is exact at irregular observations.
func TestRateSteady(t *testing.T) {
	c := newClock()
	r := NewRate(10*time.Second, c.now)
	rng := rand.New(rand.NewPCG(1, 2))
	step := int64(5000)
	r.Observe(step)
	requireRate(t, r, 0)
	r.Observe(step)
	c.advance(time.Minute) // compilation does not count
	r.Observe(step)
	c.advance(time.Minute)
	step++
	r.Observe(step)
	requireRate(t, r, 0)
	for range 200 {
		n := rng.Int64N(500)
		step += n
		c.advance(time.Duration(n) * 20 * time.Millisecond)
		r.Observe(step)
		if n > 0 {
			requireRate(t, r, 50)
		}
	}
}

// TestRateChange checks that after a change of speed the estimate converges with the given memory,
// whatever the spacing of the observations.
func TestRateChange(t *testing.T) {
	c := newClock()
	r := NewRate(10*time.Second, c.now)
	step := int64(0)
	run := func(seconds, tick int, perSecond int64) {
		for range seconds / tick {
			c.advance(time.Duration(tick) * time.Second)
			step += int64(tick) * perSecond
			r.Observe(step)
		}
	}
	r.Observe(0)
	run(1000, 1, 100)
	requireRate(t, r, 100)
	run(10, 10, 20) // leaves e^-1 of the difference
	requireRate(t, r, 20+80*math.Exp(-1))
	run(90, 3, 20)
	requireRate(t, r, 20+80*math.Exp(-10))
	run(10, 5, 0) // a stall
	requireRate(t, r, (20+80*math.Exp(-10))*math.Exp(-1))
}

// TestRateStillClock checks that steps within one tick of the clock are neither lost nor divided by
// zero.
func TestRateStillClock(t *testing.T) {
	c := newClock()
	r := NewRate(time.Second, c.now)
	r.Observe(0)
	r.Observe(1)
	r.Observe(50)
	requireRate(t, r, 0)
	c.advance(2 * time.Second)
	r.Observe(101)
	requireRate(t, r, 50)
	c.advance(-time.Second) // the clock is set back
	r.Observe(102)
	requireRate(t, r, 50)
}

func TestRateRestart(t *testing.T) {
	c := newClock()
	r := NewRate(time.Second, c.now)
	for step := range int64(10) {
		r.Observe(step)
		c.advance(time.Second)
	}
	requireRate(t, r, 1)
	r.Observe(2) // another run
	requireRate(t, r, 0)
}

func TestLeft(t *testing.T) {
	c := newClock()
	r := NewRate(time.Second, c.now)
	requireLeft := func(total int64, want time.Duration, wantOK bool) {
		t.Helper()
		if got, ok := r.Left(total); got != want || ok != wantOK {
			t.Errorf("left to %d: %v, %v, want %v, %v", total, got, ok, want, wantOK)
		}
	}
	requireLeft(100, 0, false)
	r.Observe(10)
	requireLeft(100, 0, false)
	c.advance(time.Second)
	r.Observe(12)
	requireLeft(100, 0, false)
	c.advance(time.Second)
	r.Observe(14)
	requireLeft(100, 43*time.Second, true)
	requireLeft(14, 0, true)
	requireLeft(5, 0, true)
	requireLeft(math.MaxInt64, 0, false)
}

// TestLeftIsSteady checks that, with step times that vary by half, the time left rarely grows and
// is right within a tenth.
func TestLeftIsSteady(t *testing.T) {
	const total, mean = 5000, 20 * time.Millisecond
	c := newClock()
	r := NewRate(10*time.Second, c.now)
	rng := rand.New(rand.NewPCG(3, 4))
	r.Observe(0)
	previous, grew := time.Duration(math.MaxInt64), 0
	for step := int64(1); step <= total; step++ {
		c.advance(time.Duration((0.5 + rng.Float64()) * float64(mean)))
		r.Observe(step)
		left, ok := r.Left(total)
		if step < 250 || step%50 > 0 { // skip the first five seconds; then check once a second
			continue
		}
		want := float64(total-step) * mean.Seconds()
		if !ok || math.Abs(left.Seconds()-want) > 0.1*want+1e-9 {
			t.Fatalf("step %d: %v left, want %.1fs within a tenth", step, left, want)
		}
		if left > previous {
			grew++
		}
		previous = left
	}
	if grew > 5 {
		t.Errorf("the time left grew %d times in 95 seconds", grew)
	}
}

func TestRatePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a memory of 0 is accepted")
		}
	}()
	NewRate(0, time.Now)
}
