package latent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomlx/gomlx/core/tensors"
)

// randomCodec writes an autoencoder with random weights in the form of diffusers: images [8, 8, 3]
// have latents [4, 4, 2].
func randomCodec(t *testing.T) (dir string) {
	t.Helper()
	c := nn.AutoencoderConfig{Images: 3, Latents: 2, Channels: []int{4, 8}, Blocks: 1, Groups: 2, Scale: 0.7, Shift: 0.1}
	rng, file := rand.New(rand.NewPCG(1, 0)), make(checkpoint.Tensors)
	list := pretrained.AutoencoderWeights(c)
	for _, w := range list {
		size := 1
		for _, d := range w.Shape {
			size *= d
		}
		values := make([]float32, size)
		for i := range values {
			values[i] = 0.3 * float32(rng.NormFloat64())
		}
		file[w.File] = tensors.FromFlatDataAndDimensions(values, w.Shape...)
	}
	weights, err := pretrained.Import(file, list)
	dir = filepath.Join(t.TempDir(), "autoencoder")
	if err == nil {
		err = pretrained.WriteAutoencoder(dir, nn.Autoencoder{AutoencoderConfig: c}, weights, 8, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// folder writes images as PNGs in a subfolder for each class, in the order of the set, with damaged
// files at the given places of the set.
func folder(t *testing.T, images *data.Images, bad ...int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	file := 0
	add := func(label int32, content []byte) {
		path := filepath.Join(dir, []string{"blue", "red"}[label], fmt.Sprintf("%03d.png", file))
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if err == nil {
			err = os.WriteFile(path, content, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		file++
	}
	for label := range int32(2) {
		for i := range images.N {
			if images.Labels[i] != label {
				continue
			}
			for slices.Contains(bad, file) {
				add(label, []byte("no picture"))
			}
			img := image.NewRGBA(image.Rect(0, 0, images.Width, images.Height))
			for p := range images.Width * images.Height {
				copy(img.Pix[4*p:], images.Pixels[i*images.Dim()+3*p:][:3])
				img.Pix[4*p+3] = 255
			}
			var raw bytes.Buffer
			if err := png.Encode(&raw, img); err != nil {
				t.Fatal(err)
			}
			add(label, raw.Bytes())
		}
	}
	return dir
}

func files(t *testing.T, dir string, maxBad int) latent.Files {
	t.Helper()
	set, err := stream.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return latent.Files{Set: set, Height: 8, Width: 8, MaxBad: maxBad}
}

// read returns the rows and the description of a cache.
func read(t *testing.T, dir string) [2]string {
	t.Helper()
	var content [2]string
	for k, name := range []string{"latents.bin", "latents.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		content[k] = string(raw)
	}
	return content
}

// stop is a sink that stops the work at a step.
type stop struct {
	at   int64
	stop context.CancelFunc
}

func (s stop) Update(r progress.Report) {
	if r.Step >= s.at {
		s.stop()
	}
}

func (stop) Done(progress.Report, error) {}

// A cache of files, which is written in one go, with a stop, or by processes that end anywhere, has
// the same bits, and those of latents without a cache.
func TestCachedFiles(t *testing.T) {
	images := experimenttest.Pictures(40)
	codec, err := latent.OpenCodec(backendtest.New(t), randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	f, dir := files(t, folder(t, images, 5, 20, 21), 3), t.TempDir()
	l, err := codec.CachedFiles(t.Context(), dir, f)
	if err != nil {
		t.Fatal(err)
	}
	whole := read(t, dir)
	if l.N != 40 || l.Mean != nil || len(l.Bad) != 3 || !strings.HasSuffix(l.Bad[0].File, "005.png") {
		t.Errorf("%d latents, bad files %v", l.N, l.Bad)
	}
	if err := l.Load(); err != nil {
		t.Fatal(err)
	}
	computed, err := codec.CachedFiles(t.Context(), "", f)
	if err != nil {
		t.Fatal(err)
	}
	if computed.N != l.N || !slices.Equal(computed.Mean, l.Mean) || !slices.Equal(computed.Std, l.Std) ||
		!slices.Equal(computed.Labels, l.Labels) || computed.Hash() != l.Hash() {
		t.Error("latents differ from those of the cache")
	}

	stopped := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	f.Sink, f.Workers = stop{16, cancel}, 1
	if _, err := codec.CachedFiles(ctx, stopped, f); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if part := read(t, stopped); len(part[0]) == 0 || len(part[0]) >= len(whole[0]) {
		t.Errorf("stopped after %d of %d bytes", len(part[0]), len(whole[0]))
	}
	f.Sink, f.Workers = nil, 3
	if _, err := codec.CachedFiles(t.Context(), stopped, f); err != nil {
		t.Fatal(err)
	}
	if read(t, stopped) != whole {
		t.Error("a cache that was stopped and resumed differs")
	}

	var open map[string]any
	if err := json.Unmarshal([]byte(whole[1]), &open); err != nil {
		t.Fatal(err)
	}
	row := len(whole[0]) / 40
	for _, tc := range []struct{ rows, more, bad int }{{0, 0, 0}, {5, 3, 1}, {5, 0, 0}, {16, 0, 1}, {30, row - 1, 3}, {40, 0, 3}, {39, -row, 3}} {
		killed, index := t.TempDir(), map[string]any{"count": 0, "bad": open["bad"].([]any)[:tc.bad]}
		for _, key := range []string{"origin", "shape", "class_names"} {
			index[key] = open[key]
		}
		raw, err := json.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		end := tc.rows*row + max(tc.more, 0)
		rows := []byte(whole[0][:end])
		if tc.more < 0 { // the file system has lost the last row but not its length
			clear(rows[end+tc.more:])
		}
		if err := errors.Join(os.WriteFile(filepath.Join(killed, "latents.json"), raw, 0o666),
			os.WriteFile(filepath.Join(killed, "latents.bin"), rows, 0o666)); err != nil {
			t.Fatal(err)
		}
		if _, err := codec.CachedFiles(t.Context(), killed, f); err != nil || read(t, killed) != whole {
			t.Errorf("a cache that ended after %d rows and %d bytes differs: %v", tc.rows, tc.more, err)
		}
	}

	f.MaxBad = 2
	if _, err := codec.CachedFiles(t.Context(), dir, f); err == nil || !strings.Contains(err.Error(), "3 bad files, 2 are allowed") {
		t.Errorf("a cache without 3 bad files where 2 are allowed: %v", err)
	}
	if _, err := codec.CachedFiles(t.Context(), t.TempDir(), f); err == nil || !strings.Contains(err.Error(), "021.png") {
		t.Errorf("3 bad files where 2 are allowed: %v", err)
	}
}

// The latents of files are those of the same images in memory. A cache of files is not replaced by
// that of others.
func TestCacheOfOtherFiles(t *testing.T) {
	images := experimenttest.Pictures(20)
	codec, err := latent.OpenCodec(backendtest.New(t), randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	path, dir := folder(t, images), t.TempDir()
	l, err := codec.CachedFiles(t.Context(), dir, files(t, path, 0))
	if err == nil {
		err = l.Load()
	}
	if err != nil {
		t.Fatal(err)
	}
	content := read(t, dir)
	m := &data.Images{N: 20, Height: 8, Width: 8, Channels: 3}
	if m.Pixels, _, err = files(t, path, 0).Set.Levels(t.Context(), 0, 20, 8, 8, 0); err != nil {
		t.Fatal(err)
	}
	inMemory, err := codec.Latents(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(inMemory.Mean, l.Mean) || !slices.Equal(inMemory.Std, l.Std) {
		t.Error("latents of images in memory differ")
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if _, err := codec.CachedFiles(t.Context(), dir, files(t, moved, 0)); err != nil {
		t.Errorf("a folder that has moved: %v", err)
	}
	if _, err := codec.Cached(t.Context(), dir, images); !errors.Is(err, latents.ErrOther) {
		t.Errorf("images in memory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(moved, "red", "x.png"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := codec.CachedFiles(t.Context(), dir, files(t, moved, 1)); !errors.Is(err, latents.ErrOther) {
		t.Errorf("one more file: %v", err)
	}
	if read(t, dir) != content {
		t.Error("the cache has changed")
	}
}

// A streamed training that stops in the middle of an epoch resumes to the same bits.
func TestStreamedTraining(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks of convolutions, which takes minutes without XLA")
	}
	images, b := experimenttest.Pictures(40), backendtest.New(t)
	codec, err := latent.OpenCodec(b, randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := codec.CachedFiles(t.Context(), t.TempDir(), files(t, folder(t, images), 0))
	if err != nil {
		t.Fatal(err)
	}
	c := smallConfig()
	c.Network = nn.NewNetwork(nn.MLPConfig{Width: 16, Depth: 2, Activation: "silu", Classes: 2})
	c.Memory, c.Train.Loss = 1, mfm.Recipe(mfm.DiagonalOnly, mfm.Self, c.Train.Steps)
	c.Train.Loss.Guidance.Classes, c.Train.Optimizer = 2, train.DefaultOptimizer()
	weights := func(stops ...int64) string {
		out := filepath.Join(t.TempDir(), "map")
		for _, at := range append(stops, -1) {
			e, err := latent.New(c, l)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			hook := train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
				if m.Step == at {
					cancel()
				}
				return nil
			}}
			if _, err := e.Train(ctx, b, "", run.Options{Dir: out, Hooks: []train.Hook{hook}}); (err == nil) != (at < 0) {
				t.Fatalf("stopped at %d: %v", at, err)
			}
		}
		raw, err := os.ReadFile(filepath.Join(out, "weights.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if l.Mean != nil {
			t.Error("a streamed training loads the latents")
		}
		e, store, err := latent.Open(out, l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Posteriors(t.Context(), b, store, mfm.DefaultSamplerConfig(), latent.DefaultEvalConfig()); err == nil {
			t.Error("streamed latents have exact posteriors")
		}
		return string(raw)
	}
	if weights() != weights(2) {
		t.Error("a training that was stopped and resumed ends with other weights")
	}
}

// An autoencoder is trained on files that are read in each step.
func TestAutoencoderOfFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks of convolutions, which takes minutes without XLA")
	}
	c := latent.DefaultAutoencoder()
	c.Network.Latents, c.Network.Channels, c.Network.Groups = 2, []int{4, 8}, 2
	c.Train.Batch, c.Train.Steps, c.Train.EMA, c.Train.Optimizer = 8, 4, []float64{0.9}, train.DefaultOptimizer()
	images, b := experimenttest.Pictures(20), backendtest.New(t)
	f := files(t, folder(t, images, 3), 1)
	if c.Streamed(20, 8, 8) || !c.Streamed(200_000, 256, 256) {
		t.Error("20 small pictures are streamed, or 200,000 large ones are not")
	}
	out, bad := filepath.Join(t.TempDir(), "autoencoder"), 0
	f.OnBad = func(*stream.BadFile) { bad++ }
	if _, err := latent.TrainAutoencoderFiles(t.Context(), b, c, f, run.Options{Dir: out}); err != nil {
		t.Fatal(err)
	}
	codec, err := latent.OpenCodec(b, out)
	if err != nil || bad != 1 {
		t.Fatalf("%d bad files: %v", bad, err)
	}
	l, err := codec.Latents(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	var sum, squares float64
	for i, v := range l.Mean {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)+float64(l.Std[i])*float64(l.Std[i])
	}
	n := float64(len(l.Mean))
	if variance := squares/n - sum/n*sum/n; math.Abs(variance-1) > 0.01 {
		t.Errorf("latents have the variance %.3f, want 1", variance)
	}
	f.Height = 9
	if err := c.CheckFiles(f); err == nil || !strings.Contains(err.Error(), "9x8") {
		t.Errorf("a size that does not fit: %v", err)
	}
}

// With tiles of eight pixels the codec decodes images of twelve in parts, each alone, and its
// latents count as those of another codec.
func TestTiles(t *testing.T) {
	b, dir := backendtest.New(t), randomCodec(t)
	images := &data.Images{N: 2, Height: 12, Width: 8, Channels: 3}
	for i := range 2 * 12 * 8 * 3 {
		images.Pixels = append(images.Pixels, byte(37*i+i*i%101))
	}
	var decoded [2][]float32 // without and with tiles
	var hashes [2]string
	for i, tile := range []int{0, 8} {
		codec, err := latent.OpenCodec(b, dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.SetTile(12); err == nil || !strings.Contains(err.Error(), "multiple of 8 pixels") {
			t.Errorf("tiles of 12 pixels: %v", err)
		}
		if err := codec.SetTile(tile); err != nil {
			t.Fatal(err)
		}
		if decoded[i], err = codec.Reconstruct(t.Context(), images); err != nil {
			t.Fatal(err)
		}
		hashes[i] = codec.Hash
		codec.Finalize()
	}
	if hashes[0] == hashes[1] {
		t.Error("the hash of a codec with tiles is that of one without")
	}
	if len(decoded[1]) != len(images.Pixels) || near(decoded[0], decoded[1], 1e-3) {
		t.Errorf("%d pixels, or those without tiles", len(decoded[1]))
	}
}
