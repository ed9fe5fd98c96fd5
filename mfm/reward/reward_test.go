package reward_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// evaluate returns r and its gradient at points x, in float64.
func evaluate(t testing.TB, r reward.Reward, x [][]float64) (values []float64, gradients [][]float64) {
	t.Helper()
	exec, err := NewExec(backendtest.New(t), func(x *Node) []*Node {
		v := reward.Values(r, x, reward.Condition{})
		return []*Node{v, Gradient(ReduceAllSum(v), x)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(x)
	if err != nil {
		t.Fatal(err)
	}
	values = tensors.MustCopyFlatData[float64](out[0])
	flat := tensors.MustCopyFlatData[float64](out[1])
	if len(values) != len(x) {
		t.Fatalf("%d values for %d samples", len(values), len(x))
	}
	for i := range x {
		gradients = append(gradients, flat[i*len(x[0]):(i+1)*len(x[0])])
	}
	return values, gradients
}

// linearLogits returns the logits of a linear classifier of three classes in the plane.
func linearLogits(_ *model.Scope, x *Node) *Node {
	return Einsum("bi,ci->bc", x, ConstAsDType(x.Graph(), x.DType(), [][]float64{{1, 0}, {-0.5, 2}, {0.3, -1}}))
}

func linearProbabilities(x []float64) []float64 {
	p, sum := make([]float64, 3), 0.0
	for i, w := range [][]float64{{1, 0}, {-0.5, 2}, {0.3, -1}} {
		p[i] = math.Exp(w[0]*x[0] + w[1]*x[1])
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func need(t testing.TB) func(r reward.Reward, err error) reward.Reward {
	return func(r reward.Reward, err error) reward.Reward {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// tempered returns the linear logits at a temperature: those of x divided by it.
func tempered(t *testing.T, temperature float64) reward.Logits {
	t.Helper()
	logits, err := reward.Tempered(linearLogits, temperature)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// Every reward equals its formula, computed in plain Go, and its gradient the formula's gradient.
func TestRewardsAreTheirFormulas(t *testing.T) {
	sigmoid := func(z float64) float64 { return 1 / (1 + math.Exp(-z)) }
	measured := reward.LinearGaussian{A: [][]float64{{1.2, -0.8}, {0.5, 1}}, Y: []float64{-1, 0.3}, Sigma: 0.7}
	quadratic := reward.Quadratic{Center: []float64{0.5, -1}, Weight: []float64{2}}
	box := reward.Box{Low: []float64{-1, math.Inf(-1)}, High: []float64{1, 0.5}, Width: 0.3}
	plane := reward.HalfPlane{A: []float64{1, -2}, Offset: 0.4, Width: 0.5}
	inBox := func(x []float64) float64 {
		return math.Log(sigmoid((x[0]+1)/0.3)) + math.Log(sigmoid((1-x[0])/0.3)) + math.Log(sigmoid((0.5-x[1])/0.3))
	}
	weighted := func(x []float64, w ...float64) float64 {
		p := linearProbabilities(x)
		return w[0]*p[0] + w[1]*p[1] + w[2]*p[2]
	}
	inPlane := func(x []float64) float64 { return math.Log(sigmoid((x[0] - 2*x[1] - 0.4) / 0.5)) }
	blocks := reward.BlockAverage{Rows: 1, Columns: 2, Y: []float64{0.4, -2}, Sigma: 0.3}
	mass := reward.StrokeMass{Mean: 0.3, Std: 0.7, Target: 2, Width: 0.5}
	far := func(x []float64) float64 { return -(x[0]-0.5)*(x[0]-0.5) - (x[1]+1)*(x[1]+1) }
	for name, c := range map[string]struct {
		r    reward.Reward
		want func(x []float64) float64
	}{
		"linear-Gaussian": {measured.Reward(), measured.At},
		"quadratic":       {quadratic.Reward(), far},
		"box":             {box.Reward(), inBox},
		"half-plane":      {plane.Reward(), inPlane},
		"mixture":         {reward.LogMixture(gmm.Paper()), gmm.Paper().LogDensity},
		"blocks of a row": {blocks.Reward(), func(x []float64) float64 {
			return -((x[0]-0.4)*(x[0]-0.4) + (x[1]+2)*(x[1]+2)) / (2 * 0.3 * 0.3)
		}},
		"stroke mass": {mass.Reward(), func(x []float64) float64 {
			z := ((x[0]+x[1]+2)/4 - 0.3) / 0.7
			return -(z - 2) * (z - 2) / (2 * 0.5 * 0.5)
		}},
		"class mixture": {need(t)(reward.ClassMixture(linearLogits, []float64{0, 1, 3})), func(x []float64) float64 {
			return math.Log(weighted(x, 0, 1, 3))
		}},
		"tempered class mixture": {
			need(t)(reward.ClassMixture(tempered(t, 3), []float64{0, 1, 3})),
			func(x []float64) float64 { return math.Log(weighted([]float64{x[0] / 3, x[1] / 3}, 0, 1, 3)) },
		},
		"class probability": {
			need(t)(reward.ClassProbability(linearLogits, []float64{-1, 0, 2})),
			func(x []float64) float64 { return weighted(x, -1, 0, 2) },
		},
		"log-probability": {need(t)(reward.LogProbability(linearLogits, 1, 3)), func(x []float64) float64 {
			return math.Log(weighted(x, 0, 1, 0))
		}},
		"sum": {reward.Sum(quadratic.Reward(), reward.Scaled(plane.Reward(), 2)), func(x []float64) float64 {
			return far(x) + 2*inPlane(x)
		}},
		"no sum": {reward.Sum(), func([]float64) float64 { return 0 }},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		x := make([][]float64, 20)
		for i := range x {
			x[i] = []float64{2 * rng.NormFloat64(), 2 * rng.NormFloat64()}
		}
		values, gradients := evaluate(t, c.r, x)
		for i, p := range x {
			if want := c.want(p); !(math.Abs(values[i]-want) <= 1e-10*(1+math.Abs(want))) {
				t.Errorf("%s at %v: %g, want %g", name, p, values[i], want)
			}
			for j := range p {
				const h = 1e-5
				up, down := append([]float64(nil), p...), append([]float64(nil), p...)
				up[j] += h
				down[j] -= h
				want := (c.want(up) - c.want(down)) / (2 * h)
				if !(math.Abs(gradients[i][j]-want) <= 1e-6*(1+math.Abs(want))) {
					t.Errorf("%s at %v: gradient %d is %g, want %g", name, p, j, gradients[i][j], want)
				}
			}
		}
	}
}

// Far from the region of interest rewards and their gradients stay finite.
func TestRewardsFarOut(t *testing.T) {
	x := [][]float64{{1e4, -1e4}, {-1e4, 1e4}, {0, 0}}
	for name, r := range map[string]reward.Reward{
		"box":           reward.Box{Low: []float64{-1}, High: []float64{math.Inf(1)}, Width: 1e-3}.Reward(),
		"half-plane":    reward.HalfPlane{A: []float64{1, 2}, Width: 1e-3}.Reward(),
		"class mixture": need(t)(reward.ClassMixture(linearLogits, []float64{0, 0, 1})),
	} {
		values, gradients := evaluate(t, r, x)
		for i := range x {
			for _, v := range append([]float64{values[i]}, gradients[i]...) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%s at %v: value %g, gradient %v", name, x[i], values[i], gradients[i])
				}
			}
		}
	}
}

// -Inf gives no weight, whatever λ is; NaN and +Inf give no weight and are flagged. None of them
// has a gradient, although that of the logarithm is 1/0 or 1/∞ there.
func TestWeighed(t *testing.T) {
	first := reward.Func(func(x *Node) *Node { return Log(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1)) })
	exec, err := NewExec(backendtest.New(t), func(x *Node) []*Node {
		out := []*Node{}
		for _, lambda := range []float64{1, 0, -2, 1e38} {
			x := Identity(x)
			_, usable, bad := reward.Weighed(first, Scalar(x.Graph(), x.DType(), lambda), x, reward.Condition{})
			out = append(out, usable, bad, Gradient(ReduceAllSum(usable), x)[0])
		}
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	inf := float32(math.Inf(1))
	// r = 0, -Inf, NaN, +Inf, 20
	out, err := exec.Call([][]float32{{1, 5}, {0, 5}, {-1, 5}, {inf, 5}, {float32(math.Exp(20)), 5}})
	if err != nil {
		t.Fatal(err)
	}
	const none = -1e30
	slope := float32(math.Exp(-20))
	for k, want := range []struct {
		usable, bad, gradient []float32
	}{
		{[]float32{0, none, none, none, 20}, []float32{0, 0, 1, 1, 0}, []float32{1, 0, 0, 0, slope}},
		{[]float32{0, none, none, none, 0}, []float32{0, 0, 1, 1, 0}, []float32{0, 0, 0, 0, 0}},
		{[]float32{0, none, none, none, -40}, []float32{0, 0, 1, 1, 0}, []float32{-2, 0, 0, 0, -2 * slope}},
		// 20 · 10³⁸ overflows.
		{[]float32{0, none, none, none, none}, []float32{0, 0, 1, 1, 1}, []float32{1e38, 0, 0, 0, 0}},
	} {
		usable := tensors.MustCopyFlatData[float32](out[3*k])
		bad := tensors.MustCopyFlatData[float32](out[3*k+1])
		gradient := tensors.MustCopyFlatData[float32](out[3*k+2])
		for i := range want.usable {
			near := func(got, want float32) bool { return math.Abs(float64(got-want)) <= 1e-5*math.Abs(float64(want)) }
			if !near(usable[i], want.usable[i]) || bad[i] != want.bad[i] {
				t.Errorf("case %d, sample %d: usable %g, bad %g; want %g, %g",
					k, i, usable[i], bad[i], want.usable[i], want.bad[i])
			}
			if !near(gradient[2*i], want.gradient[i]) || gradient[2*i+1] != 0 {
				t.Errorf("case %d, sample %d: gradient %v, want [%g 0]", k, i, gradient[2*i:2*i+2], want.gradient[i])
			}
		}
	}
}

// -Inf gives no weight; NaN and +Inf give no weight and are flagged.
func TestUsable(t *testing.T) {
	exec, err := NewExec(backendtest.New(t), func(x *Node) []*Node {
		usable, bad := reward.Usable(Log(x)) // Log is -Inf at 0, NaN at -1
		return []*Node{usable, bad}
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call([]float32{1, 0, -1, float32(math.Inf(1)), 2})
	if err != nil {
		t.Fatal(err)
	}
	usable, bad := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
	for i, want := range []float32{0, -1e30, -1e30, -1e30, float32(math.Log(2))} {
		if usable[i] != want {
			t.Errorf("reward %d is %g, want %g", i, usable[i], want)
		}
		if wantBad := []float32{0, 0, 1, 1, 0}[i]; bad[i] != wantBad {
			t.Errorf("reward %d: bad is %g, want %g", i, bad[i], wantBad)
		}
	}
}

func TestRewardsRefuse(t *testing.T) {
	known := reward.Classifiers(linearClassifier)
	parse := func(text string, c reward.Classifiers) error { return second(reward.Parse([]byte(text), c)) }
	for name, err := range map[string]error{
		"no rows":        reward.LinearGaussian{Sigma: 1}.Validate(),
		"ragged":         reward.LinearGaussian{A: [][]float64{{1, 2}, {1}}, Y: []float64{0, 0}, Sigma: 1}.Validate(),
		"NaN":            reward.LinearGaussian{A: [][]float64{{math.NaN()}}, Y: []float64{0}, Sigma: 1}.Validate(),
		"sigma":          reward.LinearGaussian{A: [][]float64{{1}}, Y: []float64{0}}.Validate(),
		"no center":      reward.Quadratic{Weight: []float64{1}}.Validate(),
		"bounds":         reward.Box{Low: []float64{1}, High: []float64{1}, Width: 1}.Validate(),
		"width":          reward.Box{Low: []float64{0}, High: []float64{1}}.Validate(),
		"normal":         reward.HalfPlane{Width: 1}.Validate(),
		"weights":        second(reward.ClassMixture(linearLogits, []float64{0, 0, 0})),
		"negative":       second(reward.ClassMixture(linearLogits, []float64{0, -1, 2})),
		"infinite":       second(reward.ClassProbability(linearLogits, []float64{0, math.Inf(1)})),
		"class":          second(reward.LogProbability(linearLogits, 3, 3)),
		"temperature":    parse(`{"kind": "log_probability", "classifier": "a", "temperature": 0.5, "class": 1}`, known),
		"not JSON":       parse(`{`, nil),
		"kind":           parse(`{"kind": "nice"}`, nil),
		"key":            parse(`{"kind": "quadratic", "center": [0], "weight": [1], "wait": 1}`, nil),
		"no classifier":  parse(`{"kind": "log_probability", "classifier": "a", "class": 1}`, nil),
		"inside a sum":   parse(`{"kind": "sum", "of": [{"kind": "box"}]}`, nil),
		"empty sum":      parse(`{"kind": "sum"}`, nil),
		"no factor":      parse(`{"kind": "scaled", "of": {"kind": "quadratic", "center": [0], "weight": [1]}}`, nil),
		"no mixture":     parse(`{"kind": "log_mixture"}`, nil),
		"few weights":    parse(`{"kind": "class_mixture", "classifier": "a", "weights": [1]}`, known),
		"class, weights": parse(`{"kind": "log_probability", "classifier": "a", "class": 1, "weights": [1]}`, known),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Each number of a reward that float32 cannot hold, or would round to 0, is refused by its name.
func TestParseRefusesBeyondFloat32(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "box", "low": [0], "high": [1], "width": 1e-40}`:                                        "reward box: width = 1e-40 must be a float32",
		`{"kind": "box", "low": [null, -1e39], "high": [1, 2], "width": 1}`:                               "reward box: low[1] = -1e+39 must",
		`{"kind": "box", "low": [0, 0], "high": [null, 1e39], "width": 1}`:                                "reward box: high[1] = 1e+39 must",
		`{"kind": "half_plane", "a": [1, 0], "offset": 0, "width": 1e-40}`:                                "reward half_plane: width = 1e-40 must",
		`{"kind": "half_plane", "a": [1e39, 1], "offset": 0, "width": 1}`:                                 "reward half_plane: a[0] = 1e+39 must",
		`{"kind": "half_plane", "a": [1, 1], "offset": -1e39, "width": 1}`:                                "reward half_plane: offset = -1e+39 must",
		`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [1e300], "sigma": 1}`:                            "reward linear_gaussian: y[0] = 1e+300 must",
		`{"kind": "linear_gaussian", "a": [[1], [1e39]], "y": [1, 1], "sigma": 1}`:                        "reward linear_gaussian: a[1][0] = 1e+39 must",
		`{"kind": "linear_gaussian", "a": [[1, 2]], "y": [1], "sigma": 1e-39}`:                            "reward linear_gaussian: sigma = 1e-39 must",
		`{"kind": "quadratic", "center": [0], "weight": [1e39]}`:                                          "reward quadratic: weight[0] = 1e+39 must",
		`{"kind": "class_mixture", "classifier": "a", "weights": [1e39, 1, 1]}`:                           "reward class_mixture: weights[0] = 1e+39 must",
		`{"kind": "class_probability", "classifier": "a", "weights": [1, -1e39, 1]}`:                      "reward class_probability: weights[1] = -1e+39 must",
		`{"kind": "scaled", "factor": 1e39, "of": {"kind": "quadratic", "center": [0], "weight": [1]}}`:   "reward scaled: factor = 1e+39 must",
		`{"kind": "log_mixture", "mixture": {"weights": [1], "means": [[1e39]], "covariances": [[[1]]]}}`: "at most 1e+18 in magnitude",
		`{"kind": "log_mixture", "mixture": {"weights": [1], "means": [[1]], "covariances": [[[1e39]]]}}`: "at most 1e+18 in magnitude",
	} {
		if _, err := reward.Parse([]byte(text), linearClassifier); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{`{"kind": "box", "low": [null], "high": [3e38], "width": 1.2e-38}`,
		`{"kind": "half_plane", "a": [0, 1], "offset": 0, "width": 3e38}`} {
		if _, err := reward.Parse([]byte(text), nil); err != nil {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

func linearClassifier(string) (reward.Logits, int, error) { return linearLogits, 3, nil }

func second(_ reward.Reward, err error) error { return err }

// The example of each kind is a valid reward, once its placeholders are replaced.
func TestParse(t *testing.T) {
	if n := len(reward.Kinds()); n < 10 {
		t.Errorf("%d kinds, want at least 10", n)
	}
	for name, kind := range reward.Kinds() {
		example := strings.ReplaceAll(kind.Example, "REWARD", `{"kind": "quadratic", "center": [0], "weight": [1]}`)
		example = strings.ReplaceAll(example, "[0, 1, 0, 1, 0, 2, 0, 2, 0, 4]", "[0, 1, 3]")
		example = strings.ReplaceAll(example, `"class": 8`, `"class": 2`)
		r, err := reward.Parse([]byte(example), linearClassifier)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if slices.Contains([]string{"brightness", "color", "symmetry"}, name) {
			continue // of pictures: see TestPictureRewards
		}
		if v, _ := evaluate(t, r, [][]float64{{0.3, -0.2}}); math.IsNaN(v[0]) || math.IsInf(v[0], 0) {
			t.Errorf("%s: %g", name, v[0])
		}
	}
	r := need(t)(reward.Parse([]byte(`{"kind": "sum", "of": [
		{"kind": "scaled", "factor": -2, "of": {"kind": "quadratic", "center": [1], "weight": [1, 3]}},
		{"kind": "class_mixture", "classifier": "a", "weights": [2, 0, 0]},
		{"kind": "log_probability", "classifier": "a", "temperature": 2, "class": 1}
	]}`), linearClassifier))
	v, _ := evaluate(t, r, [][]float64{{0.3, -0.2}})
	if want := 0.49 + 3*1.44 + math.Log(2*linearProbabilities([]float64{0.3, -0.2})[0]) +
		math.Log(linearProbabilities([]float64{0.15, -0.1})[1]); math.Abs(v[0]-want) > 1e-10 {
		t.Errorf("sum is %g, want %g", v[0], want)
	}
}
