package image

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// steps are images of 2x2 pixels whose columns differ.
func steps() *data.Images {
	return &data.Images{N: 3, Height: 2, Width: 2, Channels: 1,
		Pixels: []byte{10, 200, 30, 220, 0, 100, 50, 150, 255, 1, 2, 3}}
}

// A measurement of a held-out image is that of its pixels, and the mass of strokes is in units of
// the training images.
func TestRewardsOfData(t *testing.T) {
	images, heldOut := shades(), steps()
	rewards := func(text string) (values []float64, measured bool) {
		t.Helper()
		k := rewardKinds{images: images, heldOut: heldOut}
		r, err := reward.Parser{Kinds: k.all()}.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		values, err = steering.Rewards(backendtest.New(t), model.NewStore(), r, images.Float32(), []int{2, 2, 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return values, k.measured
	}
	pixels, measured := images.Float32(), heldOut.Float32()[4:8]
	// shades are of one gray, whose averages are that gray.
	left, right := float64(measured[0]+measured[2])/2, float64(measured[1]+measured[3])/2
	values, used := rewards(`{"kind": "scaled", "factor": 2, "of":
		{"kind": "block_average", "rows": 1, "columns": 2, "image": 1, "sigma": 0.5}}`)
	for i, got := range values {
		gray := float64(pixels[4*i])
		want := -2 * ((gray-left)*(gray-left) + (gray-right)*(gray-right)) / (2 * 0.5 * 0.5)
		near(t, "measurement", got, want, 1e-4)
	}
	if !used {
		t.Error("a reward of a held-out image is not known as one")
	}
	var mean, square float64
	for i := range images.N {
		mass := (float64(pixels[4*i]) + 1) / 2
		mean, square = mean+mass/48, square+mass*mass/48
	}
	std := math.Sqrt((square - mean*mean) * 48 / 47)
	values, used = rewards(`{"kind": "stroke_mass", "target": 1.5, "width": 0.4}`)
	for i, got := range values {
		z := ((float64(pixels[4*i])+1)/2 - mean) / std
		near(t, "mass of strokes", got, -(z-1.5)*(z-1.5)/(2*0.4*0.4), 1e-4)
	}
	if given, _ := rewards(`{"kind": "stroke_mass", "mean": 0.25, "std": 2, "target": 1.5, "width": 0.4}`); used ||
		math.Abs(given[0]+math.Pow(((float64(pixels[0])+1)/2-0.25)/2-1.5, 2)/0.32) > 1e-4 {
		t.Errorf("with given moments: %g", given[0])
	}
	for text, want := range map[string]string{
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": 3, "sigma": 1}`:              "image = 3: must lie in [0, 3)",
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": -1, "sigma": 1}`:             "image = -1",
		`{"kind": "block_average", "rows": 3, "columns": 1, "image": 1, "sigma": 1}`:              "rows = 3",
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": 1, "y": [0], "sigma": 1}`:    "give one of the two",
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": 1, "sigma": -1}`:             "sigma = -1",
		`{"kind": "sum", "of": [{"kind": "stroke_mass", "target": 1, "width": 1, "mean": 0}]}`:    "only one of mean and std",
		`{"kind": "stroke_mass", "target": 1, "width": 0}`:                                        "width = 0",
		`{"kind": "block_average", "rows": 1, "columns": 1, "image": 1, "sigma": 1, "colour": 2}`: "colour: unknown key",
	} {
		k := rewardKinds{images: images, heldOut: heldOut}
		if _, err := (reward.Parser{Kinds: k.all()}).Parse([]byte(text)); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	for _, kind := range RewardKinds() { // examples, without images
		k := rewardKinds{}
		if _, err := (reward.Parser{Kinds: k.all()}).Parse([]byte(kind.Example)); err == nil ||
			!strings.Contains(err.Error(), "images here") {
			t.Errorf("%s without images: error %v", kind.Example, err)
		}
	}
}

// The rewards of the declared grid measure the held-out four that is farthest from the training
// images, or need no more than the digits.
func TestDeclaredRewards(t *testing.T) {
	images, heldOut, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../../../figures/grids/when_steering_pays_mnist.json")
	if err != nil {
		t.Fatal(err)
	}
	grid, err := steering.ParseGrid(raw)
	if err != nil {
		t.Fatal(err)
	}
	k := rewardKinds{images: images, heldOut: heldOut}
	kinds := make(map[string]int)
	for _, named := range grid.Rewards {
		var spec struct {
			Kind  string
			Image *int
		}
		if json.Unmarshal(named.Reward, &spec) != nil {
			continue // a name, of a reward of a classifier
		}
		if _, err := (reward.Parser{Kinds: k.all()}).Parse(named.Reward); err != nil {
			t.Errorf("%s: %v", named.Name, err)
		}
		if kinds[spec.Kind]++; spec.Image != nil && heldOut.Labels[*spec.Image] != 4 {
			t.Errorf("%s: of a digit %d, want a four", named.Name, heldOut.Labels[*spec.Image])
		}
	}
	if kinds["block_average"] != 3 || kinds["stroke_mass"] != 2 || len(grid.Rewards) != 7 || !k.measured {
		t.Errorf("kinds %v of %d rewards", kinds, len(grid.Rewards))
	}
	// The four is the farthest one at σ = 0.2.
	blocks := grid.Rewards[1].Reward
	if _, err := (reward.Parser{Kinds: k.all()}).Parse(blocks); err != nil {
		t.Fatal(err)
	}
	m, err := k.measurement(blocks)
	if err != nil {
		t.Fatal(err)
	}
	farthest, at := 0.0, -1
	for i := range heldOut.N {
		image, err := heldOut.Slice(i, i+1)
		if err != nil {
			t.Fatal(err)
		}
		y, err := k.blocks.Measure(image.Float32(), image.Height, image.Width, image.Channels)
		if err != nil {
			t.Fatal(err)
		}
		if kl := m.MeasuredKL(y, 0.2); heldOut.Labels[i] == 4 && kl > farthest {
			farthest, at = kl, i
		}
	}
	if at != 685 || math.Abs(farthest-14.3) > 0.05 || math.Abs(m.kl(1)-farthest) > 1e-9 ||
		math.Abs(m.kl(0.16)-m.MeasuredKL(m.y, 0.5)) > 1e-9 || !strings.Contains(string(blocks), "685") {
		t.Errorf("the farthest four is image %d at %.2f nats; the grid has %s at %.2f", at, farthest, blocks, m.kl(1))
	}
}

// The mass of strokes is one measurement; a sum and a scaled reward are none.
func TestMeasurement(t *testing.T) {
	for text, want := range map[string]float64{ // in units of the training images: mean 0, variance 1
		`{"kind": "stroke_mass", "target": 3, "width": 0.3}`:                                        (0.09/1.09 - 1 + 9/(1.09*1.09) + math.Log(1.09/0.09)) / 2,
		`{"kind": "scaled", "factor": 2, "of": {"kind": "stroke_mass", "target": 3, "width": 0.3}}`: -1,
		`{"kind": "quadratic", "center": [0, 0, 0, 0], "weight": [1, 1, 1, 1]}`:                     -1,
	} {
		k := rewardKinds{images: shades()}
		if _, err := (reward.Parser{Kinds: k.all()}).Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		m, err := k.measurement([]byte(text))
		if err != nil || (m == nil) != (want < 0) || m != nil && math.Abs(m.kl(1)-want) > 1e-9 {
			t.Errorf("%s: measurement %+v (%v), want %.4f nats", text, m, err, want)
		}
	}
}

// FuzzReward checks that any text gives an error, or a reward.
func FuzzReward(f *testing.F) {
	k := rewardKinds{images: shades(), heldOut: steps()}
	p := reward.Parser{Kinds: k.all()}
	for _, kind := range p.Kinds {
		f.Add([]byte(kind.Example))
	}
	f.Add([]byte(`{"kind": "block_average", "rows": 1, "columns": 2, "image": 2, "sigma": 0.5}`))
	f.Add([]byte(`{"kind": "block_average", "rows": -1, "columns": 4097, "image": 2, "sigma": 0.5}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r reward.Reward
		err := fuzztest.Read(t, len(raw), 1<<12, func() (err error) {
			r, err = p.Parse(raw)
			return err
		})
		if (err == nil) != (r != nil) {
			t.Fatalf("reward %v, error %v", r, err)
		}
	})
}
