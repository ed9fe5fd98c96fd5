package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/numpy"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/internal/fuzztest"
	experiment "github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

const (
	// smallNetwork is of convolutions, for images of any even size.
	smallNetwork = `"channels": [4], "groups": 2, "embedding": 8`
	// smallMLP compiles much faster, where convolutions are not what is tested.
	smallMLP = `{"kind": "mlp", "width": 16, "depth": 1, "activation": "silu"}`
)

// colorFolder writes nine classes of six PNG images of height 12 and width 10, each class with a
// color of its own.
func colorFolder(t *testing.T, dir string) {
	for i := range 9 * 6 {
		class := i % 9
		img := image.NewRGBA(image.Rect(0, 0, 10, 12))
		for p := range 120 {
			img.Set(p%10, p/10, color.RGBA{R: uint8(80 * (class % 3)), G: uint8(80 * (class / 3)), B: uint8(p + i), A: 255})
		}
		folder := filepath.Join(dir, fmt.Sprintf("class %d", class))
		var raw bytes.Buffer
		if err := png.Encode(&raw, img); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, folder, fmt.Sprintf("%d.png", i), raw.String())
	}
}

// wantColor checks that a PNG has pixels with color.
func wantColor(t *testing.T, name string, raw []byte) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for x := range picture.Bounds().Dx() {
		for y := range picture.Bounds().Dy() {
			if r, g, b, _ := picture.At(x, y).RGBA(); r != g || g != b {
				return
			}
		}
	}
	t.Errorf("%s has no color", name)
}

// A map of RGB images in a folder is trained, sampled, evaluated, steered, tuned and diagnosed.
func TestImageFolder(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "faces")
	colorFolder(t, folder)
	config := write(t, dir, "map.json", `{"parametrization": "gaussian", "network": `+smallMLP+`, "train": {"batch": 4}}`)
	out := filepath.Join(dir, "map")
	train := []string{"train", "digits", "--config", config, "--data", folder, "--loss", "diagonal", "--steps", "3", "--out", out}
	if report := must(t, train...); strings.Count(report, "\n") != 4 || !strings.Contains(report, "On held-out data at t = 0.2, 0.5, 0.8") {
		t.Errorf("the training ends with %q, want four lines with a verdict", report)
	}
	file := filepath.Join(dir, "samples.png")
	s := decode[digitSamples](t, must(t, "sample", "digits", "--checkpoint", out, "--t", "0.5", "--contexts", "2", "--n", "3", "--json", "--out", file))
	if !slices.Equal(s.Shape, []int{12, 10, 3}) || len(s.Samples) != 2 || len(s.Samples[1][2]) != 360 {
		t.Errorf("samples of shape %v", s.Shape)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantColor(t, file, raw)
	file = filepath.Join(dir, "samples.npy")
	s = decode[digitSamples](t, must(t, "sample", "digits", "--checkpoint", out, "--contexts", "2", "--n", "3", "--json", "--out", file))
	array, err := numpy.FromNpyFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if pixels := tensors.MustCopyFlatData[float32](array); !slices.Equal(array.Shape().Dimensions, []int{2, 3, 12, 10, 3}) ||
		!slices.Equal(pixels[4*360:5*360], s.Samples[1][1]) {
		t.Errorf("the array has shape %v", array.Shape())
	}

	small := write(t, dir, "classifier.json", `{"network": {"classes": 9, `+smallNetwork+`}, "train": {"batch": 8, "steps": 3}}`)
	judge, noised := filepath.Join(dir, "judge"), filepath.Join(dir, "noised")
	classifier := []string{"train", "classifier", "--config", small, "--data", folder, "--out"}
	must(t, append(classifier, judge)...)
	must(t, append(classifier, noised, "--noised")...)
	must(t, "eval", "digits", "--checkpoint", out, "--judge", judge, "--noised", noised, "--times", "0.5", "--contexts", "2", "--samples", "2", "--generate", "3")
	evaluators := []string{"--checkpoint", out, "--judge", judge, "--second", judge, "--reward", "class:8", "--json"}
	steered := decode[[]experiment.SteeringResult](t, must(t, append([]string{"steer", "digits", "--method", "mfm-gf", "--n", "2",
		"--steps", "3", "--samples", "4", "--out", filepath.Join(dir, "steered")}, evaluators...)...))
	wantColor(t, "the strip of a result", steered[0].Images)
	if pixels, err := experiment.Unstrip(steered[0].Images, s.Shape, 4); err != nil || len(pixels) != 4*360 {
		t.Errorf("%d pixels: %v", len(pixels), err)
	}
	tuned := decode[[]experiment.TuningResult](t, must(t, append([]string{"tune", "digits", "--network", "copy", "--steps", "2", "--batch", "4",
		"--kl", "0", "--out", filepath.Join(dir, "tuned")}, evaluators...)...))
	if len(tuned) != 1 || tuned[0].TuneSteps != 2 {
		t.Errorf("%d results of tuning", len(tuned))
	}
	must(t, append([]string{"diagnose", "digits", "--times", "0.5", "--contexts", "2", "--draws", "4"}, evaluators...)...)
	settings := write(t, dir, "gradients.json", `[{"temperature": 2, "times": [0.5], "ns": [8], "states": 2, "samples": 512}]`)
	estimates := decode[[]experiment.TemperatureResult](t, must(t, append([]string{"stress", "gradients", "--settings", settings, "--out",
		filepath.Join(dir, "gradients")}, evaluators[:len(evaluators)-1]...)...)) // without --json
	if len(estimates) != 1 || estimates[0].Temperature != 2 || estimates[0].Fingerprint == "" || len(estimates[0].Estimates) != 2 {
		t.Errorf("estimates of gradients: %+v", estimates)
	}

	for want, args := range map[string][]string{
		`size "0x3"`:          {"--size", "0x3"},
		"sides must be":       {"--set", `network={"kind": "unet", "patch": 4}`},
		"network.classes = 3": {"--set", "network.classes=3", "--set", "train.loss.guidance.classes=3", "--distillation", "self"},
		"gaussian":            {"--parametrization", "mixture"},
		"another run":         {"--size", "6"},
	} {
		if code, _, stderr := invoke(t.Context(), append(slices.Clone(train), args...)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", args, code, stderr, want)
		}
	}
	if code, _, stderr := invoke(t.Context(), append(classifier, filepath.Join(dir, "x"), "--set", "network.patch=4")...); code != 2 || !strings.Contains(stderr, "sides must be") {
		t.Errorf("a classifier's patches: exit code %d, %q", code, stderr)
	}
}

// The flag --classes makes the map one of the images' classes, whose names samples may be asked
// for.
func TestImageClasses(t *testing.T) {
	dir := t.TempDir()
	folder, out := filepath.Join(dir, "faces"), filepath.Join(dir, "map")
	colorFolder(t, folder)
	config := write(t, dir, "map.json", `{"parametrization": "plain", "network": {`+smallNetwork+`, "attention": [], "heads": 1}, "train": {"batch": 4, "steps": 3, "optimizer": {"rate": 0.1}}}`)
	train := []string{"train", "digits", "--config", config, "--loss", "diagonal", "--no-verdict", "--data", folder}
	must(t, append(train, "--classes", "--out", out)...)
	var c experiment.Config
	m, err := run.ReadConfig(out, &c)
	if err != nil {
		t.Fatal(err)
	}
	if g := c.Train.Loss.Guidance; c.Network.ClassCount() != 9 || g.Classes != 9 || g.Dropout != 0.1 || len(c.ClassNames) != 9 ||
		c.ClassNames[3] != "class 3" || !strings.HasSuffix(m.Command, " --classes") {
		t.Errorf("classes %q, guidance %+v, command %q", c.ClassNames, g, m.Command)
	}
	sample := []string{"sample", "digits", "--checkpoint", out, "--contexts", "1", "--n", "2", "--json"}
	of := func(class string) digitSamples {
		return decode[digitSamples](t, must(t, append(slices.Clone(sample), "--class", class)...))
	}
	named, other := of("class 3"), of("4")
	if !reflect.DeepEqual(named, of("3")) || reflect.DeepEqual(named.Samples, other.Samples) || named.Class != "class 3" || other.Class != "class 4" {
		t.Errorf("samples of %q and %q", named.Class, other.Class)
	}
	for want, args := range map[string][]string{
		`--class: class "disc" is unknown: use "class 0", "class 1", `: append(slices.Clone(sample), "--class", "disc"),
		"--classes: the images have no labels: give a subfolder":       append(slices.Clone(train), "--data", filepath.Join(folder, "class 3"), "--classes", "--out", filepath.Join(dir, "x")),
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", args, code, stderr, want)
		}
	}
}

// The location of the images, with their labels and size, is part of a run.
func TestImageLocations(t *testing.T) {
	dir := t.TempDir()
	colorFolder(t, filepath.Join(dir, "faces"))
	colorFolder(t, filepath.Join(dir, "some"))
	write(t, filepath.Join(dir, "some", "class 3"), "bad.png", "")
	config := write(t, dir, "map.json", `{"parametrization": "plain", "network": `+smallMLP+`, "train": {"batch": 4, "steps": 1}}`)
	npy := func(name, descr, shape string, elements []byte) string {
		header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", descr, shape)
		return write(t, dir, name, "\x93NUMPY\x01\x00"+string([]byte{byte(len(header)), 0})+header+string(elements))
	}
	images := npy("x.npy", "|u1", "20, 4, 6, 2", bytes.Repeat([]byte{0, 100, 200}, 20*16))
	labels := npy("y.npy", "|u1", "20,", bytes.Repeat([]byte{0, 1}, 10))
	for _, tc := range []struct {
		name, location string
		shape          []int
		args           []string
	}{
		{"size", filepath.Join(dir, "faces") + "?size=8x6", []int{8, 6, 3}, []string{"--data", filepath.Join(dir, "faces"), "--size", "8x6"}},
		{"skip", filepath.Join(dir, "some") + "?size=8x6&skip=1", []int{8, 6, 3},
			[]string{"--data", filepath.Join(dir, "some"), "--size", "8x6", "--skip", "1"}},
		{"arrays", images + "?labels=" + strings.ReplaceAll(labels, "/", "%2F"), []int{4, 6, 2},
			[]string{"--data", images, "--labels", labels, "--distillation", "self", "--set", "network.classes=2", "--classes"}},
		{"no labels", images, []int{4, 6, 2}, []string{"--distillation", "self", "--data", images}},
	} {
		out := filepath.Join(dir, tc.name)
		must(t, append([]string{"train", "digits", "--config", config, "--loss", "diagonal", "--no-verdict", "--out", out}, tc.args...)...)
		var m run.Manifest
		raw, err := os.ReadFile(filepath.Join(out, "config.json"))
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		if err != nil || m.Data != tc.location || !strings.Contains(m.Command, strings.Join(tc.args[:4], " ")) {
			t.Errorf("%s: data %q by %q (%v), want %q", tc.name, m.Data, m.Command, err, tc.location)
		}
		sample := []string{"sample", "digits", "--checkpoint", out, "--contexts", "1", "--n", "1", "--json"}
		if s := decode[digitSamples](t, must(t, sample...)); !slices.Equal(s.Shape, tc.shape) {
			t.Errorf("%s: samples of shape %v, want %v", tc.name, s.Shape, tc.shape)
		}
		if tc.name == "no labels" {
			if code, _, stderr := invoke(t.Context(), "eval", "digits", "--checkpoint", out, "--evaluator", "x", "--noised", "y"); code != 2 || !strings.Contains(stderr, "have no labels") {
				t.Errorf("evaluating images without labels: exit code %d, %q", code, stderr)
			}
		}
		if tc.name == "arrays" {
			if code, _, stderr := invoke(t.Context(), append(sample, "--out", filepath.Join(dir, "x.png"))...); code != 2 || !strings.Contains(stderr, "these have 2") {
				t.Errorf("a figure of two channels: exit code %d, %q", code, stderr)
			}
		}
	}
}

// Held-out images that have changed since the training are refused, and by a run that is older than
// their hash accepted.
func TestHeldOutImages(t *testing.T) {
	dir := t.TempDir()
	smallImages(t, dir)
	network := `"channels": [4], "groups": 2, "embedding": 8`
	config := write(t, dir, "map.json", `{"parametrization": "plain", "network": {`+network+`, "attention": [], "heads": 1}, "train": {"batch": 4}}`)
	small := write(t, dir, "classifier.json", `{"network": {`+network+`}, "train": {"batch": 8}}`)
	out, classifier := filepath.Join(dir, "map"), filepath.Join(dir, "classifier")
	train := []string{"train", "digits", "--config", config, "--data", dir, "--loss", "diagonal", "--steps", "1", "--no-verdict", "--out", out}
	trainClassifier := []string{"train", "classifier", "--config", small, "--data", dir, "--steps", "1", "--out", classifier}
	sample := []string{"sample", "digits", "--checkpoint", out, "--contexts", "1", "--n", "1", "--json"}
	must(t, train...)
	must(t, trainClassifier...)
	must(t, sample...)
	path := filepath.Join(dir, "t10k-images-idx3-ubyte")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	write(t, dir, filepath.Base(path), string(raw))
	for _, args := range [][]string{train, trainClassifier, sample} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, "the held-out data have changed") {
			t.Errorf("%v with other held-out images: exit code %d, %q", args[:2], code, stderr)
		}
	}
	for _, of := range []string{out, classifier} {
		if _, _, err := experiment.OfRun(of); err == nil || !strings.Contains(err.Error(), "the held-out data have changed") {
			t.Errorf("opened other held-out images: error %v", err)
		}
		m, err := run.ReadManifest(of)
		m.HeldOutHash = ""
		if err == nil {
			err = run.WriteJSON(filepath.Join(of, "config.json"), m)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := experiment.OfRun(of); err != nil {
			t.Errorf("a run without the hash: %v", err)
		}
	}
	must(t, sample...)
}

// The folder of a data set is inspected with its bad files, which have no effect on the exit code.
func TestInspectPictures(t *testing.T) {
	dir := t.TempDir()
	var good bytes.Buffer
	if err := png.Encode(&good, image.NewGray(image.Rect(0, 0, 5, 3))); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"b/good.png": good.Bytes(), "a/bad.png": nil} {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o777)
		if err == nil {
			err = os.WriteFile(path, content, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(dir, "a", "bad.png")
	r := decode[stream.Report](t, must(t, "data", "inspect", dir, "--json"))
	if r.Count != 1 || r.Height != [2]int{3, 3} || r.Width != [2]int{5, 5} || len(r.Bad) != 1 || r.Bad[0].File != bad ||
		!slices.Equal(r.Classes, []stream.Class{{Name: "a"}, {Name: "b", Count: 1}}) {
		t.Errorf("report %+v", r)
	}
	want := "count     1\nheight    3 to 3\nwidth     5 to 5\nclass 0   0  a\nclass 1   1  b\nbad       1\n" +
		bad + " is empty: replace or remove it\n"
	if text := must(t, "data", "inspect", dir); text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// A transformer is trained with scales of guidance, which it follows in one evaluation, others in
// two; an interval guides the steps that start in it. What does not fit is refused.
func TestGuidanceScales(t *testing.T) {
	dir := t.TempDir()
	smallImages(t, dir)
	config := write(t, dir, "map.json", `{"parametrization": "gaussian", "network": {"kind": "dit", "patch": 4,
		"width": 16, "depth": 2, "encoder": 1, "heads": 2, "classes": 2, "guidance": [3, 5]},
		"train": {"batch": 16, "ema": [], "optimizer": {"warmup": 0},
		"loss": {"guidance": {"classes": 2, "dropout": 0.2, "scales": [3]}}}}`)
	out := filepath.Join(dir, "map")
	train := []string{"train", "digits", "--config", config, "--data", dir, "--loss", "diagonal", "--distillation",
		"self", "--steps", "12", "--rate", "0.1", "--no-verdict", "--out"}
	must(t, append(train, out)...)
	sample := []string{"sample", "digits", "--checkpoint", out, "--contexts", "1", "--n", "2", "--class", "1",
		"--steps", "2", "--json"}
	of := func(more ...string) digitSamples {
		return decode[digitSamples](t, must(t, append(slices.Clone(sample), more...)...))
	}
	plain := of()
	if plain.Guidance != nil {
		t.Errorf("samples without guidance are guided by %+v", plain.Guidance)
	}
	seen := [][][][]float32{plain.Samples}
	for _, c := range []struct {
		args []string
		want guidance
	}{
		{[]string{"--guidance", "3"}, guidance{3, 0, 1, "network", 2}},
		{[]string{"--guidance", "3", "--guidance-to", "0.5"}, guidance{3, 0, 0.5, "network", 2}},
		{[]string{"--guidance", "3", "--guidance-from", "0.5"}, guidance{3, 0.5, 1, "network", 2}},
		{[]string{"--guidance", "2"}, guidance{2, 0, 1, "classifier-free", 4}},
		{[]string{"--guidance", "5", "--guidance-from", "0.4"}, guidance{5, 0.4, 1, "classifier-free", 4}},
	} {
		got := of(c.args...)
		if got.Guidance == nil || *got.Guidance != c.want {
			t.Errorf("%v: guidance %+v, want %+v", c.args, got.Guidance, c.want)
		}
		for _, other := range seen {
			if reflect.DeepEqual(got.Samples, other) {
				t.Errorf("%v: samples do not depend on the guidance", c.args)
			}
		}
		seen = append(seen, got.Samples)
	}
	for want, args := range map[string][]string{
		"must increase":            append(slices.Clone(sample), "--guidance", "3", "--guidance-from", "1"),
		"--guidance-to = 2":        append(slices.Clone(sample), "--guidance", "3", "--guidance-to", "2"),
		"other than 1":             append(slices.Clone(sample), "--guidance-to", "0.5"),
		"no step of 2 starts":      append(slices.Clone(sample), "--guidance", "3", "--guidance-from", "0.6"),
		"scales of guidance [3 5]": append(train, filepath.Join(dir, "x"), "--set", "train.loss.guidance.scales=[2]"),
		"guidance: scales = [-1]":  append(train, filepath.Join(dir, "x"), "--set", "train.loss.guidance.scales=[-1]"),
		"network unet has no input": append(train, filepath.Join(dir, "x"), "--set",
			`network={"kind": "unet", "classes": 2}`),
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", args, code, stderr, want)
		}
	}
}

// FuzzNumbers checks that any text gives an error, or finite numbers, one for each field.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"1,2", " 1 , -2e3", "", "nan", "1e400", "inf", "0x1p-2", "1,,2", "a\nb", "1_0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var all []float32
		err := fuzztest.Read(t, len(text), 256, func() (err error) {
			all, err = numbers(text)
			return err
		})
		if err != nil {
			return
		}
		if len(all) != strings.Count(text, ",")+1 {
			t.Errorf("%q has %d numbers", text, len(all))
		}
		for _, v := range all {
			if v-v != 0 {
				t.Errorf("%q has the number %g", text, v)
			}
		}
	})
}

// A figure of posterior samples names its columns and the time, one of samples of a class the
// class.
func TestFigureOfImages(t *testing.T) {
	pixels := func(n int) (all [][]float32) {
		for i := range n {
			all = append(all, slices.Repeat([]float32{float32(i%3 - 1)}, 16))
		}
		return all
	}
	d := digitSamples{Shape: []int{4, 4, 1}, Contexts: pixels(2), Samples: [][][]float32{pixels(6), pixels(6)}}
	for want, change := range map[string]func(){
		"<title>t = 0.4</title>":       func() { d.T = 0.4 },
		"<title>t = 0.4, disc</title>": func() { d.T, d.Class = 0.4, "disc" },
		"<title>disc</title>":          func() { d.T, d.Class = 0, "disc" },
	} {
		d.T, d.Class = 0, ""
		change()
		fig := d.figure()
		svg, err := fig.Render("svg")
		if err != nil || !strings.Contains(string(svg), want) {
			t.Errorf("no %q in the SVG (%v)", want, err)
		}
	}
}
