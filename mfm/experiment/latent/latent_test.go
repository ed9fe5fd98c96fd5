package latent_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// trainCodec trains a small autoencoder in a folder.
func trainCodec(t *testing.T, images *data.Images) string {
	t.Helper()
	c := latent.DefaultAutoencoder()
	c.Network.Latents, c.Network.Channels, c.Network.Groups = 2, []int{8, 16, 16}, 4
	c.Train.Batch, c.Train.Steps = 16, 200
	c.Train.EMA, c.Train.Optimizer.Warmup, c.Train.Optimizer.Rate = []float64{0.9}, 5, 1e-2
	dir := filepath.Join(t.TempDir(), "codec")
	if _, err := latent.TrainAutoencoder(t.Context(), backendtest.New(t), c, images, run.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func smallConfig() latent.Config {
	c := latent.DefaultConfig()
	network := nn.DefaultDiT()
	network.Width, network.Depth, network.Encoder, network.Heads, network.Classes = 16, 2, 1, 2, 2
	c.Network, c.ClassNames = nn.NewNetwork(network), []string{"blue", "red"}
	c.Train.Loss.Guidance.Classes = 2
	c.Train.Batch, c.Train.Steps = 16, 5
	return c
}

// An autoencoder learns simple images, and its folder keeps it: latents of unit variance, of images
// and of mirror images.
func TestAutoencoder(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks of convolutions, which takes minutes without XLA")
	}
	images := experimenttest.Pictures(64)
	b := backendtest.New(t)
	dir := trainCodec(t, images)
	codec, err := latent.OpenCodec(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := codec.Reconstruct(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	decibels := latent.PSNR(decoded, images)
	a, err := latent.OpenAutoencoder(dir)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := a.Reconstruct(t.Context(), b, images)
	if err != nil || len(exact) != len(decoded) {
		t.Fatalf("%d pixels, %v", len(exact), err)
	}
	for i, v := range latent.PSNR(exact, images) { // without rounding latents to float16
		if math.Abs(v-decibels[i]) > 0.05 {
			t.Errorf("image %d: PSNR is %.2f dB, with rounded latents %.2f dB", i, v, decibels[i])
		}
	}
	if mean, _ := meanStd(decibels); mean < 15 || len(decoded) != 64*192 {
		t.Errorf("PSNR is %.1f dB of %d pixels, want 15 dB after 200 steps, where the mean of all images has 12.8 dB", mean, len(decoded))
	}
	l, err := codec.Latents(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	var values []float64
	noise := 0.
	for i, v := range l.Mean {
		values = append(values, float64(v))
		noise += float64(l.Std[i]) * float64(l.Std[i]) / float64(len(l.Mean))
	}
	if _, std := meanStd(values); math.Abs(math.Hypot(std, math.Sqrt(noise))-1) > 0.01 {
		t.Errorf("latents have the standard deviation %.3f and noise of %.3f, want 1 together", std, math.Sqrt(noise))
	}
	mirrored := *images
	mirrored.Pixels = nil
	for i := range images.N * 8 {
		row := images.Pixels[i*24 : (i+1)*24]
		for x := 7; x >= 0; x-- {
			mirrored.Pixels = append(mirrored.Pixels, row[3*x:3*x+3]...)
		}
	}
	m, err := codec.Latents(t.Context(), &mirrored)
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.N {
		at, next := 2*i*l.Size(), (2*i+1)*l.Size()
		if !near(l.Mean[next:next+l.Size()], m.Mean[at:next], 1e-4) || !near(l.Std[next:next+l.Size()], m.Std[at:next], 1e-4) {
			t.Fatalf("the second latent of image %d is not that of its mirror image", i)
		}
	}
	if near(l.Mean[:l.Size()], m.Mean[:l.Size()], 1e-2) {
		t.Error("an image and its mirror image have equal latents")
	}
}

// A tiny autoencoder without weights decodes black: gray of level 51 has the error 0.2.
func TestOpenAutoencoder(t *testing.T) {
	tiny := nn.TinyAutoencoder{Images: 3, Latents: 4}
	dir, zeros := t.TempDir(), make(checkpoint.Tensors)
	for _, w := range slices.Concat(pretrained.TinyEncoderWeights(tiny), pretrained.TinyDecoderWeights(tiny)) {
		part, _, _ := strings.Cut(w.Path, "/")
		zeros[part+"."+w.File] = tensors.FromShape(shapes.Make(dtypes.Float32, w.Shape...))
	}
	file := filepath.Join(dir, "tiny.safetensors")
	c, err := pretrained.Convert(zeros, pretrained.TinyAutoencoderKind, "", func(any) error { return nil })
	if err == nil {
		err = c.Write(file, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := latent.OpenAutoencoder(file)
	if err != nil {
		t.Fatal(err)
	}
	b := backendtest.New(t)
	gray := &data.Images{N: 17, Height: 8, Width: 16, Channels: 3, Pixels: bytes.Repeat([]byte{51}, 17*8*16*3)}
	black, err := a.Reconstruct(t.Context(), b, gray)
	if err != nil {
		t.Fatal(err)
	}
	decibels := latent.PSNR(black, gray)
	if len(decibels) != 17 {
		t.Fatalf("%d images", len(decibels))
	}
	for i, v := range decibels {
		if math.Abs(v+20*math.Log10(0.2)) > 1e-4 {
			t.Errorf("image %d: PSNR is %.4f dB", i, v)
		}
	}
	gray.Width, gray.N = 12, 4
	_, err = a.Reconstruct(t.Context(), b, gray)
	experimenttest.WantError(t, "sides that 8 does not divide", err, "divides their sides by 8")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	gray.Width = 16
	_, err = a.Reconstruct(ctx, b, gray)
	experimenttest.WantError(t, "a context that has ended", err, "reconstructing images")
	_, err = latent.OpenAutoencoder(filepath.Join(dir, "none"))
	experimenttest.WantError(t, "no file", err, "no such file")
	for _, name := range []string{"sd-vae-ft-mse", "sd-vae-ft-ema"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	_, err = latent.OpenAutoencoder(dir)
	experimenttest.WantError(t, "two autoencoders", err, "the autoencoders sd-vae-ft-mse and sd-vae-ft-ema: keep one")
}

// The cache keeps latents, and is replaced for other images.
func TestCache(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks of convolutions, which takes minutes without XLA")
	}
	images, dir := experimenttest.Pictures(20), t.TempDir()
	codec, err := latent.OpenCodec(backendtest.New(t), randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	first, err := codec.Cached(t.Context(), dir, images)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	kept, err := codec.Cached(ended, dir, images) // computes nothing
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kept.Mean, first.Mean) || !slices.Equal(kept.Std, first.Std) || kept.Hash() != first.Hash() ||
		!slices.Equal(kept.Labels, images.Labels) {
		t.Error("the kept latents differ")
	}
	if _, err := codec.Cached(ended, dir, experimenttest.Pictures(21)); err == nil {
		t.Error("latents of other images come from the cache")
	}
	other, err := codec.Cached(t.Context(), dir, experimenttest.Pictures(21))
	if err != nil || other.N != 21 {
		t.Errorf("latents of other images: %v", err)
	}
}

// A run opens with and without its latents, with the samples of the map that was trained, and
// refuses other latents.
func TestTrainAndOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks of convolutions, which takes minutes without XLA")
	}
	images, b := experimenttest.Pictures(40), backendtest.New(t)
	dir := randomCodec(t)
	codec, err := latent.OpenCodec(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := codec.Latents(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	small := smallConfig()
	small.Network = nn.NewNetwork(nn.MLPConfig{Width: 16, Depth: 1, Activation: "silu", Classes: 2}) // which compiles fast
	e, err := latent.New(small, l)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "map")
	store, err := e.Train(t.Context(), b, dir, run.Options{Dir: out})
	if err != nil {
		t.Fatal(err)
	}
	sample := func(m mfm.Model) []float32 {
		s, err := mfm.NewSampler(b, m, mfm.DefaultSamplerConfig())
		if err != nil {
			t.Fatal(err)
		}
		flat, err := mfm.Flat(s.Posterior(t.Context(), 3, 0.5, latent.States(l.Means()[:2*l.Size()], l.Shape()), 2, []int32{0, 1}))
		if err != nil {
			t.Fatal(err)
		}
		return flat
	}
	m, config, err := latent.OpenModel(out)
	if err != nil {
		t.Fatal(err)
	}
	want := sample(e.Model(store))
	if !slices.Equal(sample(m), want) || !slices.Equal(config.ClassNames, []string{"blue", "red"}) {
		t.Error("the opened map has other samples")
	}
	opened, store, err := latent.Open(out, l)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sample(opened.Model(store)), want) {
		t.Error("the opened experiment has other samples")
	}
	if kept, err := latent.OpenCodec(b, out); err != nil || kept.Hash != codec.Hash {
		t.Errorf("the run keeps no copy of the autoencoder: %v", err)
	}
	results, err := opened.Posteriors(t.Context(), b, store, mfm.DefaultSamplerConfig(),
		latent.EvalConfig{Times: []float64{0.9}, Contexts: 2, Samples: 64, Projections: 16})
	if err != nil || len(results) != 1 || !(results[0].Std > 0 && results[0].Excess < 0.3) {
		t.Errorf("results %+v (%v): latents with much noise are nearly Gaussian, where the map begins", results, err)
	}
	plain := small
	plain.Parametrization, plain.Train.Steps, plain.Train.Loss.Consistency = mfm.PlainName, 1, mfm.DiagonalOnly
	if e, err = latent.New(plain, l); err != nil {
		t.Fatal(err)
	}
	if store, err = e.Train(t.Context(), b, "", run.Options{}); err != nil {
		t.Fatal(err)
	}
	results, err = e.Posteriors(t.Context(), b, store, mfm.DefaultSamplerConfig(),
		latent.EvalConfig{Times: []float64{0.9}, Contexts: 2, Samples: 64, Projections: 16})
	if err != nil || !(results[0].Excess > 1) {
		t.Errorf("results %+v (%v): an untrained map returns its noise", results, err)
	}
	path := filepath.Join(out, "statistics.safetensors")
	kept, _, err := checkpoint.ReadWeights(path)
	if err == nil {
		kept["variance"] = tensors.FromFlatDataAndDimensions([]float32{3}, 1)
		err = checkpoint.WriteWeights(path, kept, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if opened, store, err = latent.Open(out, l); err != nil {
		t.Fatal(err)
	}
	if m, _, err = latent.OpenModel(out); err != nil {
		t.Fatal(err)
	}
	if got := sample(opened.Model(store)); !slices.Equal(got, sample(m)) || slices.Equal(got, want) {
		t.Error("the opened experiment does not have the statistics of its run")
	}
	other := experimenttest.Pictures(41)
	otherLatents, err := codec.Latents(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := latent.Open(out, otherLatents); err == nil {
		t.Error("a run opens on latents of other images")
	}
}

// Configurations that do not fit are errors before any work.
func TestValidate(t *testing.T) {
	l := &latents.Set{N: 2, Height: 2, Width: 2, Channels: 1, Labels: []int32{0, 1},
		Mean: make([]float32, 16), Std: make([]float32, 16)}
	for name, change := range map[string]func(*latent.Config){
		"parametrization": func(c *latent.Config) { c.Parametrization = mfm.MixtureName },
		"class names":     func(c *latent.Config) { c.ClassNames = c.ClassNames[:1] },
		"patch": func(c *latent.Config) {
			n := c.Network.Architecture.(nn.DiTConfig)
			n.Patch = 4
			c.Network = nn.NewNetwork(n)
		},
		"guidance": func(c *latent.Config) { c.Train.Loss.Guidance.Classes = 3 },
	} {
		c := smallConfig()
		if err := c.ValidateFor(l); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.ValidateFor(l) == nil {
			t.Errorf("%s: a configuration that does not fit is valid", name)
		}
	}
	c := smallConfig()
	network := c.Network.Architecture.(nn.DiTConfig)
	network.Guidance = []float64{2, 3}
	c.Network, c.Train.Loss.Guidance.Scales = nn.NewNetwork(network), []float64{3}
	e, err := latent.New(c, l)
	if err != nil {
		t.Fatal(err)
	}
	for scale, nfe := range map[float64]int{3: 1, 2: 2} { // the network has 2, but is not trained with it
		guided, err := e.Model(model.NewStore()).Guided(scale)
		if err != nil || guided.Map.NFE() != nfe {
			t.Errorf("guidance by %g: error %v, or not %d evaluations", scale, err, nfe)
		}
	}
	if c.Train.Loss.Guidance.Scales = []float64{4}; c.ValidateFor(l) == nil {
		t.Error("a scale of guidance that the network does not have is valid")
	}
	c = smallConfig()
	l.Labels[1] = 0
	if c.ValidateFor(l) == nil {
		t.Error("a class without images is valid for a teacher")
	}
	if l.Labels = nil; c.ValidateFor(l) == nil {
		t.Error("images without labels are valid for a network with classes")
	}
	for _, name := range latent.Presets() {
		if c, err := latent.Preset(name); err != nil || c.Validate() != nil {
			t.Errorf("preset %s: %v, %v", name, err, c.Validate())
		}
	}
}

func meanStd(v []float64) (mean, std float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		std += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, math.Sqrt(std)
}

func near(a, b []float32, tol float64) bool {
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > tol {
			return false
		}
	}
	return true
}
