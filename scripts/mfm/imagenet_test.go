package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// smallDiT is the configuration of a small transformer for the latents of nine classes.
func smallDiT(t *testing.T) string {
	t.Helper()
	network := nn.DefaultDiT()
	network.Width, network.Depth, network.Encoder, network.Heads, network.Classes = 16, 1, 1, 2, 9
	raw, err := json.Marshal(nn.NewNetwork(network))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// An autoencoder is trained on picture files that are streamed, and the preset of ImageNet on its
// latents: with a folder of an autoencoder in the form of diffusers, a folder by class and a bad
// file, in memory and from the cache.
func TestImageNetOfFiles(t *testing.T) {
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	colorFolder(t, pictures)
	bad := write(t, filepath.Join(pictures, "class 3"), "bad.png", "")
	small := []string{"--data", pictures, "--size", "8", "--skip", "1", "--steps", "2", "--batch", "4"}
	args := append([]string{"train", "autoencoder", "--out", filepath.Join(dir, "autoencoder"), "--set", "memory=1", "--set",
		`network={"images": 3, "latents": 2, "channels": [4, 8], "blocks": 1, "groups": 2, "scale": 1, "shift": 0}`}, small...)
	if code, _, stderr := invoke(t.Context(), args...); code != 0 || !strings.Contains(stderr, "left out: data: "+bad) {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	codec := filepath.Join(dir, "autoencoder", "autoencoder")
	images := []string{"--data", pictures, "--size", "8", "--skip", "1"}
	r := decode[autoencoderEvaluation](t, must(t, append([]string{"eval", "autoencoder", "--checkpoint", codec, "--json"}, images...)...))
	if r.All.Pictures != 54 || r.HeldOut.Pictures+r.Training.Pictures != 54 || !(r.All.PSNR > 0 && r.HeldOut.PSNRSE > 0) {
		t.Errorf("evaluation %+v of 54 pictures", r)
	}

	cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "map")
	train := append([]string{"train", "imagenet", "--preset", "xl2", "--autoencoder", codec, "--set", "network=" + smallMLP,
		"--set", "network.classes=9", "--no-verdict"}, small...)
	streamed := append(slices.Clone(train), "--latents", cache, "--set", "memory=1", "--out", out)
	if code, _, stderr := invoke(t.Context(), streamed...); code != 0 || !strings.Contains(stderr, "left out: data: "+bad) {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var c latent.Config
	m, err := run.ReadConfig(out, &c, latent.Kind)
	if err != nil || len(c.ClassNames) != 9 || c.ClassNames[3] != "class 3" || !strings.Contains(m.Command, "--latents "+cache) {
		t.Errorf("class names %q, command %q (%v)", c.ClassNames, m.Command, err)
	}
	for folder, classes := range map[string]int{pictures: 9, filepath.Join(pictures, "class 1"): 0} {
		own := decode[latent.Config](t, must(t, "info", "imagenet", "--data", folder, "--size", "8"))
		if own.Network.ClassCount() != classes || len(own.ClassNames) != classes || own.Train.Loss.Guidance.Classes != classes {
			t.Errorf("%s: %d classes %q, want %d", folder, own.Network.ClassCount(), own.ClassNames, classes)
		}
	}
	judged := slices.DeleteFunc(slices.Clone(streamed), func(arg string) bool { return arg == "--no-verdict" })
	report := must(t, judged...) // has ended, and finds its cache
	if strings.Count(report, "\n") != 4 || !strings.Contains(report, "On held-out data at t = 0.2, 0.5, 0.8") {
		t.Errorf("the training ends with %q, want four lines with a verdict", report)
	}
	must(t, append(slices.Clone(train), "--latents", cache, "--loss", "diagonal", "--out", filepath.Join(dir, "in memory"))...)
	steerSmallImageNet(t, out)
	tuneSmallImageNet(t, out)
	stressSmallImageNet(t, out, images)
	sample := append([]string{"sample", "imagenet", "--checkpoint", out, "--t", "0.5", "--contexts", "2", "--n", "2",
		"--steps", "1", "--json"}, images...)
	s := decode[imageSamples](t, must(t, append(slices.Clone(sample), "--tile", "8")...))
	if len(s.Images) != 2 || len(s.Samples[1][1]) != 192 {
		t.Errorf("%d images, samples of %d values", len(s.Images), len(s.Samples[1][1]))
	}
	numberedImages(t, out, append([]string{"sample", "imagenet", "--checkpoint", out, "--count", "19"}, images...))
	evaluate := append([]string{"eval", "imagenet", "--times", "0.5", "--contexts", "1", "--samples", "2"}, images...)
	must(t, append(slices.Clone(evaluate), "--checkpoint", filepath.Join(dir, "in memory"), "--latents", cache)...)
	for want, args := range map[string][]string{
		"--latents: cache":        append(slices.Clone(train), "--latents", cache, "--size", "16", "--out", filepath.Join(dir, "x")),
		"tile = 12: must be a":    append(slices.Clone(sample), "--tile", "12"),
		"--size HxW crops":        {"train", "imagenet", "--data", pictures, "--out", filepath.Join(dir, "x")},
		"use self":                append(slices.Clone(streamed), "--distillation", "teacher", "--out", filepath.Join(dir, "x")),
		"keep the latents":        append(slices.Clone(train), "--set", "memory=1", "--out", filepath.Join(dir, "x")),
		"labels up to 8":          append(slices.Clone(train), "--set", "class_names=[]", "--set", "network.classes=2", "--set", "train.loss.guidance.classes=2", "--out", filepath.Join(dir, "x")),
		"all latents in memory":   append(slices.Clone(evaluate), "--checkpoint", out, "--latents", cache),
		"memory = -1":             append(slices.Clone(train), "--set", "memory=-1", "--out", filepath.Join(dir, "x")),
		"divides their sides":     append(slices.Clone(train), "--size", "9", "--out", filepath.Join(dir, "x")),
		"divides their sides by":  {"eval", "autoencoder", "--checkpoint", codec, "--data", pictures, "--size", "9", "--skip", "1"},
		"network.classes = 1000:": append(slices.Clone(train), "--data", filepath.Join(pictures, "class 1"), "--set", "network.classes=1000", "--set", "train.loss.guidance.classes=1000", "--out", filepath.Join(dir, "x")),
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, %s", want, code, stderr)
		}
	}
	imageNetFromFlow(t, dir, append(slices.Clone(train), "--latents", cache, "--set", "memory=1"))
}

// imageNetFromFlow checks that a training on streamed latents starts from a SiT, which teaches it
// too, and resumes with this teacher alone. train are the arguments of a training.
func imageNetFromFlow(t *testing.T, dir string, train []string) {
	train = append(slices.Clone(train), "--set", "network="+smallDiT(t))
	network := nn.DiTConfig{Patch: 1, Width: 16, Depth: 1, Encoder: 1, Heads: 2, Classes: 9}
	rng, file := rand.New(rand.NewPCG(1, 0)), make(checkpoint.Tensors)
	for _, copied := range []string{"ema.", "model."} {
		for _, w := range pretrained.SiTWeights(network, 2, 2) {
			size := 1
			for _, d := range w.Shape {
				size *= d
			}
			values := make([]float32, size)
			for i := range values {
				values[i] = 0.1 * float32(rng.NormFloat64())
			}
			file[copied+w.File] = tensors.FromFlatDataAndDimensions(values, w.Shape...)
		}
	}
	var raw bytes.Buffer
	if err := checkpoint.Write(&raw, file, nil); err != nil {
		t.Fatal(err)
	}
	sit := write(t, dir, "sit.safetensors", raw.String())
	flow, other := filepath.Join(dir, "flow.safetensors"), filepath.Join(dir, "other.safetensors")
	convert := []string{"weights", "convert", sit, "--set", "heads=2"}
	must(t, append(slices.Clone(convert), "--prefix", "ema", "--to", flow)...)
	must(t, append(slices.Clone(convert), "--prefix", "model", "--to", other)...)
	out := filepath.Join(dir, "from a flow")
	start := append(slices.Clone(train), "--distillation", "teacher", "--loss", "diagonal", "--set", "network.qk_norm=false",
		"--set", "train.loss.guidance.mix=0", "--set", "teacher.guidance=1.5", "--init", sit, "--prefix", "ema")
	taught := func(by, out string) []string { return append(slices.Clone(start), "--teacher", by, "--out", out) }
	must(t, taught(flow, out)...)
	var c latent.Config
	m, err := run.ReadConfig(out, &c, latent.Kind)
	if err != nil || c.Teacher == nil || c.Teacher.Guidance != 1.5 || c.Teacher.To != 1 || m.Init != sit ||
		!strings.Contains(m.Command, "--teacher "+flow+" --prefix ema --init "+sit) {
		t.Errorf("teacher %+v, init %s, command %q (%v)", c.Teacher, m.Init, m.Command, err)
	}
	must(t, taught(flow, out)...)                           // has ended
	must(t, taught(out, filepath.Join(dir, "of a run"))...) // which teaches, too
	x := filepath.Join(dir, "not trained")
	// An autoencoder with the same weights and another scale of the latents.
	scaled := filepath.Join(dir, "scaled")
	if err := os.CopyFS(scaled, os.DirFS(filepath.Join(out, "autoencoder"))); err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile(filepath.Join(scaled, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, scaled, "config.json", regexp.MustCompile(`"scaling_factor": [0-9.e-]+`).ReplaceAllString(string(description), `"scaling_factor": 7`))
	for want, args := range map[string][]string{
		"another run":                     taught(other, out),
		"latents of another autoencoder":  append(taught(out, x), "--autoencoder", scaled),
		`class_names = ["a" "b"`:          append(taught(out, x), "--set", `class_names=["a","b","c","d","e","f","g","h","i"]`),
		"the number of heads":             taught(sit, x),
		"does not use it: use teacher":    append(slices.Clone(train), "--teacher", flow, "--out", x),
		"hash is missing":                 append(slices.Clone(start), "--out", x),
		"guides again":                    append(taught(flow, x), "--set", "train.loss.guidance.mix=0.5"),
		"network.qk_norm = false":         append(taught(flow, x), "--set", "network.qk_norm=true"),
		"network.patch = 1":               append(taught(flow, x), "--set", "network.patch=2"),
		`"ema." and "model."`:             append(slices.Clone(train), "--init", sit, "--out", x),
		"parametrization = plain":         append(slices.Clone(train), "--init", flow, "--parametrization", "gaussian", "--out", x),
		"name the teacher with the hash ": append(slices.Clone(start), "--config", configOf(t, out), "--out", x),
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, %s", want, code, stderr)
		}
	}
}

// Every number of a preset is shown without the pictures of ImageNet, which training needs.
func TestImageNetPresets(t *testing.T) {
	for _, name := range latent.Presets() {
		want, err := latent.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode[latent.Config](t, must(t, "info", "imagenet", "--preset", name)); !reflect.DeepEqual(got, want) {
			t.Errorf("info prints %+v, want %+v", got, want)
		}
	}
	refused(t, "no pictures", []string{"train", "imagenet", "--preset", "b2", "--out", filepath.Join(t.TempDir(), "x")}, "--data is missing")
}

// A folder with a transformer under its official name and an autoencoder in the form of diffusers
// is sampled by the command that samples the default model.
func TestSampleReleased(t *testing.T) {
	dir := t.TempDir()
	network := nn.DefaultDiT()
	network.Patch, network.Width, network.Depth, network.Encoder, network.Heads, network.Classes = 2, 16, 28, 20, 2, 1000
	network.QKNorm, network.Reversed, network.BlindAtZero, network.Guidance = true, true, false, []float64{2.5}
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(list []pretrained.Weight) checkpoint.Tensors {
		all := make(checkpoint.Tensors)
		for _, w := range list {
			size := 1
			for _, d := range w.Shape {
				size *= d
			}
			values := make([]float32, size)
			for i := range values {
				values[i] = float32(rng.NormFloat64()) / 8
			}
			all[w.File] = tensors.FromFlatDataAndDimensions(values, w.Shape...)
		}
		return all
	}
	args := []string{"sample", "imagenet", "--preset", "xl2", "--checkpoint", dir, "--class", "281", "--n", "1", "--contexts", "1", "--json"}
	if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, "mfm-xl2.pt (mfm weights get mfm-xl-2)") {
		t.Errorf("an empty folder: exit code %d, %s", code, stderr)
	}
	file := filepath.Join(dir, "mfm-xl2.pt")
	if err := checkpoint.WriteWeights(file, random(pretrained.DiTWeights(network, 4)), nil); err != nil {
		t.Fatal(err)
	}
	a := nn.Autoencoder{AutoencoderConfig: nn.AutoencoderConfig{
		Images: 3, Latents: 4, Channels: []int{4, 4, 4, 4}, Blocks: 1, Groups: 2, Scale: 0.18215,
	}}
	weights, err := pretrained.ImportAutoencoder(random(pretrained.AutoencoderWeights(a.AutoencoderConfig)), a.AutoencoderConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := pretrained.WriteAutoencoder(filepath.Join(dir, "sd-vae-ft-mse"), a, weights, 256, nil); err != nil {
		t.Fatal(err)
	}
	if s := decode[imageSamples](t, must(t, args...)); len(s.Samples) != 1 || len(s.Samples[0][0]) != 256*256*3 ||
		s.Classes[0] != "281" {
		t.Errorf("%d rows of classes %q", len(s.Samples), s.Classes)
	}
	// Classes were trained with guidance 2.5 alone, which they have without the flag, too.
	plain := decode[imageSamples](t, must(t, args...))
	if plain.Guidance == nil || *plain.Guidance != (guidance{2.5, 0, 1, "network", 1}) {
		t.Errorf("a class is guided by %+v, want 2.5", plain.Guidance)
	}
	guided := decode[imageSamples](t, must(t, append(slices.Clone(args), "--guidance", "2.5")...))
	if !reflect.DeepEqual(plain, guided) {
		t.Error("a class without guidance differs from one with guidance 2.5")
	}
	for _, more := range [][]string{{"--guidance", "1"}, {"--guidance", "4"}, {"--guidance-from", "0.5", "--steps", "2"}} {
		code, _, stderr := invoke(t.Context(), append(slices.Clone(args), more...)...)
		if code != 2 || !strings.Contains(stderr, "with guidance of scale 2.5 alone") {
			t.Errorf("%v: exit code %d, %s", more, code, stderr)
		}
	}
	if code, _, stderr := invoke(t.Context(), append(args, "--class", "1000")...); code != 2 || !strings.Contains(stderr, "below 1000") {
		t.Errorf("class 1000: exit code %d, %s", code, stderr)
	}
	flow := filepath.Join(dir, "flow")
	if err := os.Mkdir(flow, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, filepath.Join(flow, "SiT-XL-2-256.pt")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := invoke(t.Context(), append(args, "--checkpoint", flow)...); code != 2 || !strings.Contains(stderr, "use --method ode") {
		t.Errorf("one step of a flow: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := invoke(t.Context(), append(args, "--at", "3")...); code != 2 || !strings.Contains(stderr, "--at = 3") {
		t.Errorf("--at: exit code %d, %s", code, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "SiT-XL-2-256.pt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, "a folder of its own") {
		t.Errorf("two transformers: exit code %d, %s", code, stderr)
	}
}

// numberedImages tests that a set of numbered images of the run in dir is the same in one shard and
// in two, resumes, and refuses another set.
func numberedImages(t *testing.T, dir string, args []string) {
	t.Helper()
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	must(t, append(slices.Clone(args), "--out", whole)...)
	for _, shard := range []string{"1/2", "0/2"} {
		must(t, append(slices.Clone(args), "--out", parts, "--shard", shard)...)
	}
	read := func(name string) (string, string) {
		a, errA := os.ReadFile(filepath.Join(whole, name))
		b, errB := os.ReadFile(filepath.Join(parts, name))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		return string(a), string(b)
	}
	files, err := os.ReadDir(whole)
	if err != nil || len(files) != 20 { // with images.json
		t.Fatalf("%d files, want 20 (%v)", len(files), err)
	}
	seen := make(map[string]bool)
	for _, f := range files {
		a, b := read(f.Name())
		if a != b {
			t.Errorf("%s differs between one shard and two", f.Name())
		}
		seen[a] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different files, want 20", len(seen))
	}
	if err := os.Remove(filepath.Join(parts, "000007.png")); err != nil {
		t.Fatal(err)
	}
	cut, err := os.ReadFile(filepath.Join(parts, "000005.png"))
	for number, size := range map[int]int{4: 0, 5: len(cut) - 1, 6: 3} { // as a lost power leaves them
		if err == nil {
			err = os.Truncate(filepath.Join(parts, fmt.Sprintf("%06d.png", number)), int64(size))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(parts, "000008.png"))
	if err != nil {
		t.Fatal(err)
	}
	must(t, append(slices.Clone(args), "--count", "21", "--out", parts)...) // the set grows
	for _, name := range []string{"000004.png", "000005.png", "000006.png", "000007.png"} {
		if a, b := read(name); a != b {
			t.Errorf("%s, which was drawn again, differs", name)
		}
	}
	if after, err := os.Stat(filepath.Join(parts, "000008.png")); err != nil || after.ModTime() != before.ModTime() {
		t.Errorf("an image that was there was drawn again (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(parts, "000020.png")); err != nil {
		t.Error(err)
	}
	// The array and the folder have the same pictures for mfm eval fid.
	npz := filepath.Join(dir, "whole.npz")
	must(t, append(slices.Clone(args), "--out", whole, "--npz", npz)...)
	var levels [2][]byte
	for i, path := range []string{whole, npz} {
		pictures, err := distance.OpenPictures(path, "")
		if err == nil {
			levels[i], err = pictures.Levels(t.Context(), 0, pictures.N)
			pictures.Close()
		}
		if err != nil || len(levels[i]) != 19*8*8*3 {
			t.Fatalf("%s: %d levels, error %v", path, len(levels[i]), err)
		}
	}
	if !bytes.Equal(levels[0], levels[1]) {
		t.Error("the array has other pictures than the folder")
	}
	for want, more := range map[string][]string{
		"the last command": {"--npz", npz, "--shard", "0/2", "--out", parts},
		"other images":     {"--seed", "1", "--out", parts}, "use map or ode": {"--method", "sde", "--steps", "4", "--out", parts},
		"need a folder": {"--t", "0.5", "--out", parts}, "shard \"3/3\"": {"--shard", "3/3", "--count", "10000000", "--out", parts},
		"--count = 10000001 images": {"--count", "10000001", "--out", parts},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(args), more...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %s", more, code, stderr)
		}
	}
}

// Gray picture files have three channels for the training of an autoencoder, in memory and not, as
// for that of the map on its latents.
func TestGrayFolder(t *testing.T) {
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	for i := range 16 {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for p := range img.Pix {
			img.Pix[p] = byte(3*p + 11*i)
		}
		var raw bytes.Buffer
		if err := png.Encode(&raw, img); err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(pictures, []string{"a", "b"}[i%2])
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, folder, fmt.Sprintf("%d.png", i), raw.String())
	}
	network := func(channels int) string {
		return fmt.Sprintf(`network={"images": %d, "latents": 2, "channels": [4, 8], "blocks": 1, "groups": 2,
			"scale": 1, "shift": 0}`, channels)
	}
	common := []string{"--data", pictures, "--size", "8", "--steps", "2", "--batch", "4", "--out"}
	train := append([]string{"train", "autoencoder", "--set", network(3)}, common...)
	must(t, append(slices.Clone(train), filepath.Join(dir, "memory"))...)
	must(t, append(slices.Clone(train), filepath.Join(dir, "files"), "--set", "memory=1")...)
	for name, more := range map[string][]string{"x": nil, "y": {"--set", "memory=1"}} {
		args := append([]string{"train", "autoencoder", "--set", network(1)}, common...)
		args = append(append(args, filepath.Join(dir, name)), more...)
		refused(t, "one channel", args, "images of 3 channels: network.images = 1")
	}
	train = append([]string{"train", "imagenet", "--autoencoder", filepath.Join(dir, "memory"), "--set",
		"network=" + smallMLP, "--set", "network.classes=2", "--loss", "diagonal", "--distillation", "self",
		"--no-verdict"}, common...)
	must(t, append(train, filepath.Join(dir, "map"))...)
}
