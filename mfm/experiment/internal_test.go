package experiment

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

func TestMedianNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const size, n, m = 3, 7, 20
	random := func(count int) []float32 {
		v := make([]float32, count)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	samples, reference := random(n*size), random(m*size)
	var nearest []float64
	for _, a := range mfm.Rows(samples, size) {
		best := math.Inf(1)
		for _, b := range mfm.Rows(reference, size) {
			d := 0.0
			for i := range a {
				d += (a[i] - b[i]) * (a[i] - b[i]) / size
			}
			best = min(best, math.Sqrt(d))
		}
		nearest = append(nearest, best)
	}
	slices.Sort(nearest)
	if got, want := medianNearest(samples, reference, size), nearest[n/2]; math.Abs(got-want) > 1e-12 {
		t.Errorf("median distance %g, want %g", got, want)
	}
}

func TestDraw(t *testing.T) {
	rng, p := rand.New(rand.NewPCG(1, 1)), []float64{0.2, 0, 0.5, 0.3}
	const n = 20_000
	counts := make([]float64, len(p))
	for range n {
		counts[draw(rng, p)]++
	}
	for c, want := range p {
		se := math.Sqrt(want * (1 - want) / n)
		if math.Abs(counts[c]/n-want) > 4*se {
			t.Errorf("class %d was drawn with frequency %g, want %g ± %g", c, counts[c]/n, want, se)
		}
	}
	if got := draw(rng, []float64{0, 1 - 1e-16, 0}); got != 1 {
		t.Errorf("drew class %d of probability zero", got)
	}
}

func TestMeanSE(t *testing.T) {
	mean, se := meanSE([]float64{1, 2, 3, 6})
	if want := math.Sqrt(14.0 / 3 / 4); mean != 3 || math.Abs(se-want) > 1e-12 { // variance 14/3, four values
		t.Errorf("mean %g ± %g, want 3 ± %g", mean, se, want)
	}
	if mean, se = meanSE([]float64{5}); mean != 5 || se != 0 {
		t.Errorf("mean of one value is %g ± %g", mean, se)
	}
}

// Shifted images hold what was inside, on the background -1.
func TestShiftImages(t *testing.T) {
	const most, side = 2, 5
	pixels := make([]float32, side*side)
	for i := range pixels {
		pixels[i] = -1
	}
	pixels[2*side+2] = 1 // a dot in the middle, which a shift by two keeps inside
	exec, err := NewExec(backendtest.New(t), func(state, x *Node) []*Node {
		rng := &solver.RNG{State: state}
		y := shiftImages(rng, x, most)
		return []*Node{y, rng.State}
	})
	if err != nil {
		t.Fatal(err)
	}
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	rows, columns := map[int]bool{}, map[int]bool{}
	for range 100 {
		out, err := exec.Call(state, tensors.FromFlatDataAndDimensions(pixels, 1, side, side, 1))
		if err != nil {
			t.Fatal(err)
		}
		state = out[1]
		y := tensors.MustCopyFlatData[float32](out[0])
		place := slices.Index(y, 1)
		if place < 0 || slices.Index(y[place+1:], 1) >= 0 || slices.Min(y) != -1 {
			t.Fatalf("shifted image %v has not one dot on a background of -1", y)
		}
		rows[place/side], columns[place%side] = true, true
	}
	// One of five places is missed by all draws with probability 0.8^100 = 2e-10.
	if len(rows) != 2*most+1 || len(columns) != 2*most+1 {
		t.Errorf("the dot was in rows %v and columns %v, want all five", rows, columns)
	}
}

// A log has about five hundred entries, each a mean since the one before, and ends with the last step.
func TestLogThins(t *testing.T) {
	now := time.Unix(0, 0)
	const total = 1203
	l := newLog(total, func() time.Time { now = now.Add(time.Second); return now })
	l.cut(1)
	for step := int64(1); step <= total; step++ {
		l.add(train.Metrics{Step: step, Loss: float64(step)})
	}
	last := l.entries[len(l.entries)-1]
	if len(l.entries) != 602 || last.Step != total || last.Loss != total {
		t.Errorf("%d entries, the last %+v", len(l.entries), last)
	}
	if e := l.entries[9]; e.Step != 20 || e.Loss != 19.5 || e.Seconds != 10 { // the clock is read once an entry
		t.Errorf("the tenth entry is %+v", e)
	}
	l.cut(20)
	if l.add(train.Metrics{Step: 20, Loss: 1}); len(l.entries) != 10 || l.entries[9].Seconds != 10 {
		t.Errorf("gone on from step 19, the log is %+v", l.entries)
	}
}

// A divergence is passed over in a sweep; with a checkpoint that could not be written joined to it, it is not.
func TestOnlyNonFinite(t *testing.T) {
	diverged, full := &train.NonFiniteError{Step: 3, Tensor: "x"}, errors.New("disk is full")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {full, false}, {diverged, true}, {errors.Join(diverged, nil), true}, {fmt.Errorf("run: %w", errors.Join(errors.Join(diverged))), true},
		{errors.Join(diverged, full), false}, {errors.Join(fmt.Errorf("run: %w", diverged), fmt.Errorf("saving: %w", full)), false},
	} {
		if got := onlyNonFinite(c.err); got != c.want {
			t.Errorf("%q: %t, want %t", c.err, got, c.want)
		}
	}
}

// A sample is lost once, however many of its values are no numbers.
func TestLost(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		values []float32
		want   int
	}{
		{[]float32{1, -1e6, 0, 2}, 0}, {[]float32{nan, inf, 0, 2}, 1}, {[]float32{1.1e6, 0, 0, inf}, 2}, {nil, 0},
	} {
		if got := lost(c.values, 2); got != c.want {
			t.Errorf("%v: %d lost, want %d", c.values, got, c.want)
		}
	}
}
