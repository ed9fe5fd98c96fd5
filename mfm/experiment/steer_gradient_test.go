package experiment

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Where everything is a closed form the gradient that estimates are compared with is ∇V_t, estimates of many draws have a component of 1 along it, and those of two fall short of it.
func TestGradients(t *testing.T) {
	b := backendtest.New(t)
	law, err := gmm.New([]float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	if err != nil {
		t.Fatal(err)
	}
	r := reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.8}
	target, logZ, err := law.Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		t.Fatal(err)
	}
	ip := interpolant.Linear{}
	m := steer.FromGaussian(law, ip)
	var data []float32
	for _, x := range target.Sample(rand.New(rand.NewPCG(1, 2)), 4) {
		data = append(data, float32(x[0]), float32(x[1]))
	}
	c := GradientConfig{Times: []float64{0.3, 0.7}, Ns: []int{2, 128}, States: 4, Draws: 1 << 14}
	if testing.Short() {
		c.Draws = 1 << 12
	}
	rows, err := gradients(t.Context(), b, model.NewStore(), m, r.Reward(), []int{2}, data, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 8 {
		t.Fatalf("%d rows, want 8", len(rows))
	}
	for _, row := range rows {
		if math.Abs(row.Difference-1) > 0.05+4*row.DifferenceSE {
			t.Errorf("%+v: want a difference quotient of about 1", row)
		}
		if row.Estimates != c.Draws/row.N {
			t.Errorf("%+v: want %d estimates", row, c.Draws/row.N)
		}
		if row.N == 128 && (math.Abs(row.Mean-1) > 0.1+4*row.MeanSE || math.Abs(row.Median-1) > 0.3 || !(row.Length >= 0.9)) {
			t.Errorf("%+v: want estimates of about 1", row)
		}
		if row.N == 2 && row.Method == "mfm-gf" && !(row.Mean < 0.9) {
			t.Errorf("%+v: two draws see too much", row)
		}
	}
	at := &gradientsAt{ctx: t.Context(), store: model.NewStore(), model: m, reward: r.Reward(), shape: []int{2}, states: data, t: 0.5, config: c}
	got, err := at.truth(b)
	if err != nil {
		t.Fatal(err)
	}
	exact := MustNewExec(b, func(x *Node) *Node {
		x = Identity(x)
		at := AddScalar(MulScalar(ReduceSum(x, 1), 0), 0.5)
		return steer.FromTilt(law, target, logZ, ip).Gradient(at, x)
	})
	want := tensors.MustCopyFlatData[float32](exact.MustCall(tensors.FromFlatDataAndDimensions(data, 4, 2))[0])
	for k, v := range got {
		for i := range v {
			if w := float64(want[2*k+i]); math.Abs(v[i]-w) > 0.1*(1+math.Abs(w)) {
				t.Errorf("state %d: ∇V %v, want %v", k, v, want[2*k:2*k+2])
			}
		}
	}
	for name, change := range map[string]func(c *GradientConfig){
		"time":   func(c *GradientConfig) { c.Times = []float64{1} },
		"number": func(c *GradientConfig) { c.Ns = []int{3} },
		"draws":  func(c *GradientConfig) { c.Draws = 100 },
		"states": func(c *GradientConfig) { c.States = 1 },
	} {
		c := c
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
