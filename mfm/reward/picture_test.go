package reward_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// onPictures returns r, and the sum of its gradient's products with direction, at pictures [n,
// height, width, channels] in float64.
func onPictures(t testing.TB, r reward.Reward, x, direction []float64, shape ...int) (values []float64, slope float64) {
	t.Helper()
	exec, err := NewExec(backendtest.New(t), func(x, direction *Node) []*Node {
		v := reward.Values(r, x, reward.Condition{})
		return []*Node{v, ReduceAllSum(Mul(Gradient(ReduceAllSum(v), x)[0], direction))}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(x, shape...), tensors.FromFlatDataAndDimensions(direction, shape...))
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float64](out[0]), tensors.ToScalar[float64](out[1])
}

// The rewards of pictures equal their formulas in plain Go, and their gradients finite differences.
func TestPictureRewards(t *testing.T) {
	const n, height, width = 3, 4, 5
	rng := rand.New(rand.NewPCG(1, 0))
	x, direction := make([]float64, n*height*width*3), make([]float64, n*height*width*3)
	for i := range x {
		x[i], direction[i] = 2*rng.Float64()-1, rng.NormFloat64()
	}
	level := func(p []float64, c int) (mean float64) { // of a channel, in [0, 1]
		for i := c; i < len(p); i += 3 {
			mean += (p[i] + 1) / 2 / (height * width)
		}
		return mean
	}
	luma := func(p []float64) float64 { return 0.299*level(p, 0) + 0.587*level(p, 1) + 0.114*level(p, 2) }
	symmetry := func(p []float64) float64 {
		var difference, variance float64
		for i, v := range p {
			y, x, c := i/(3*width), i/3%width, i%3
			d := v - p[(y*width+width-1-x)*3+c]
			difference += d * d
			d = v - (2*level(p, c) - 1)
			variance += d * d
		}
		return -difference / (variance + 1e-4*float64(len(p)))
	}
	for text, want := range map[string]func(p []float64) float64{
		`{"kind": "brightness", "target": 0.3, "width": 0.05}`: func(p []float64) float64 {
			return -(luma(p) - 0.3) * (luma(p) - 0.3) / (2 * 0.05 * 0.05)
		},
		`{"kind": "brightness", "weight": -7}`:      func(p []float64) float64 { return -7 * luma(p) },
		`{"kind": "color", "hue": 0, "weight": 50}`: func(p []float64) float64 { return 50 * (level(p, 0) - level(p, 1)/2 - level(p, 2)/2) },
		`{"kind": "color", "hue": 240, "target": 0.2, "width": 0.1}`: func(p []float64) float64 {
			d := level(p, 2) - level(p, 0)/2 - level(p, 1)/2 - 0.2
			return -d * d / (2 * 0.1 * 0.1)
		},
		`{"kind": "color", "hue": 60, "weight": 1}`: func(p []float64) float64 { // yellow
			return level(p, 0)/2 + level(p, 1)/2 - level(p, 2)
		},
		`{"kind": "symmetry"}`: symmetry,
	} {
		r := need(t)(reward.Parse([]byte(text), nil))
		values, slope := onPictures(t, r, x, direction, n, height, width, 3)
		finite := 0.
		for i, v := range values {
			p := x[i*len(x)/n : (i+1)*len(x)/n]
			if w := want(p); !(math.Abs(v-w) <= 1e-10*(1+math.Abs(w))) {
				t.Errorf("%s: %g, want %g", text, v, w)
			}
			const h = 1e-5
			for _, sign := range []float64{1, -1} {
				moved := make([]float64, len(p))
				for j := range p {
					moved[j] = p[j] + sign*h*direction[i*len(p)+j]
				}
				finite += sign * want(moved) / (2 * h)
			}
		}
		if !(math.Abs(slope-finite) <= 1e-6*(1+math.Abs(finite))) {
			t.Errorf("%s: the slope is %g, by finite differences %g", text, slope, finite)
		}
	}
	gray, _ := onPictures(t, reward.Brightness{Level: reward.Level{Weight: 1}}.Reward(), []float64{-1, 0, 1, 1},
		make([]float64, 4), 1, 2, 2, 1)
	if math.Abs(gray[0]-0.625) > 1e-12 {
		t.Errorf("the brightness of a gray picture is %g, want 0.625", gray[0])
	}
}

// A symmetric picture has the symmetry 0, one that its mirror image negates -4, and a flat one 0
// with a finite gradient.
func TestSymmetryExtremes(t *testing.T) {
	x := []float64{0.5, 0.1, 0.5, 0.5, 0, -0.5, 0.2, 0.2, 0.2} // three pictures of one row and one channel
	values, slope := onPictures(t, reward.Symmetry{}.Reward(), x, x, 3, 1, 3, 1)
	for i, want := range []float64{0, -4, 0} {
		if math.Abs(values[i]-want) > 0.01 {
			t.Errorf("symmetry %d is %g, want %g", i, values[i], want)
		}
	}
	if math.IsNaN(slope) || math.IsInf(slope, 0) {
		t.Errorf("the gradient is %g", slope)
	}
}

func TestPictureRewardsRefuse(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "brightness"}`:                                         "width = 0",
		`{"kind": "brightness", "target": 0.5, "width": -1}`:             "width = -1",
		`{"kind": "brightness", "target": 0.5, "width": 1, "weight": 2}`: "weight = 2 beside",
		`{"kind": "color", "hue": 360, "weight": 1}`:                     "hue = 360",
		`{"kind": "symmetry", "weight": 1}`:                              "weight",
		`{"kind": "compressibility", "quality": 75}`:                     "unknown",
	} {
		if _, err := reward.Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	exec, err := NewExec(backendtest.New(t), func(x *Node) *Node {
		return reward.Values(reward.Symmetry{}.Reward(), x, reward.Condition{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Call([][]float32{{1, 2}}); err == nil || !strings.Contains(err.Error(), "must be pictures") {
		t.Errorf("samples that are no pictures: %v", err)
	}
}

// The black-box reward is the size of the file that package image/jpeg writes.
func TestCompressibility(t *testing.T) {
	const side = 16
	rng := rand.New(rand.NewPCG(2, 0))
	x := make([]float32, 2*side*side*3) // a flat picture, and noise that exceeds [-1, 1]
	picture := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := side * side * 3; i < len(x); i++ {
		x[i] = float32(1.5 * (2*rng.Float64() - 1))
	}
	for i := range side * side {
		level := func(c int) uint8 {
			return uint8(math.Round(127.5 * (1 + math.Max(-1, math.Min(1, float64(x[(side*side+i)*3+c]))))))
		}
		picture.Set(i%side, i/side, color.RGBA{level(0), level(1), level(2), 255})
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, picture, &jpeg.Options{Quality: 60}); err != nil {
		t.Fatal(err)
	}
	values := func(text string, x []float32, shape ...int) []float64 {
		t.Helper()
		r, err := reward.ParseHost([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		v, err := r(x, shape)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	got := values(`{"kind": "compressibility", "quality": 60}`, x, 2, side, side, 3)
	if want := -float64(file.Len()) / 1000; math.Abs(got[1]-want) > 1e-12 || !(got[0] > got[1]) {
		t.Errorf("rewards %v, want the second to be %g and less than the first", got, want)
	}
	got = values(`{"kind": "compressibility", "quality": 60, "target": 500, "width": 200}`, x, 2, side, side, 3)
	if z := (float64(file.Len()) - 500) / 200; math.Abs(got[1]+z*z/2) > 1e-9 {
		t.Errorf("the reward of %d bytes is %g", file.Len(), got[1])
	}
	x[0] = float32(math.NaN())
	if got := values(`{"kind": "compressibility", "quality": 60}`, x[:64], 1, 8, 8, 1); !math.IsNaN(got[0]) {
		t.Errorf("the reward of NaN is %g", got[0])
	}
	for text, want := range map[string]string{
		`{"kind": "compressibility"}`:                              "quality = 0",
		`{"kind": "compressibility", "quality": 5, "target": 100}`: "target = 100 without a width",
		`{"kind": "compressibility", "quality": 5, "width": -1}`:   "width = -1",
		`{"kind": "symmetry"}`:                                     "unknown",
		`[]`:                                                       "object",
	} {
		if _, err := reward.ParseHost([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	if reward.IsHost([]byte(`{"kind": "symmetry"}`)) || !reward.IsHost([]byte(`{"kind": "compressibility"}`)) {
		t.Error("IsHost does not tell the kinds apart")
	}
	if _, err := (reward.Compressibility{Quality: 9}).Host()(x, []int{2, len(x) / 2}); err == nil {
		t.Error("samples that are no pictures have a reward")
	}
}
