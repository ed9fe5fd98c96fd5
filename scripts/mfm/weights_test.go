package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

const shippedRuns = "../../data/weights/"

// copied returns a copy of a folder of files.
func copied(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// altered returns a copy of a run whose file of tensors is altered and has a checksum of its new
// content.
func altered(t *testing.T, from, name string, change func(checkpoint.Tensors)) string {
	t.Helper()
	dir := copied(t, from)
	values, _, err := checkpoint.ReadWeights(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	change(values)
	var plain bytes.Buffer
	if err := checkpoint.Write(&plain, values, nil); err != nil {
		t.Fatal(err)
	}
	metadata := map[string]string{"sha256 without this entry": fmt.Sprintf("%x", sha256.Sum256(plain.Bytes()))}
	f, err := os.Create(filepath.Join(dir, name))
	if err == nil {
		err = checkpoint.Write(f, values, metadata)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// unsigned returns a copy of a run whose file of tensors has lost its metadata.
func unsigned(t *testing.T, from, name string) string {
	t.Helper()
	dir := copied(t, from)
	values, _, err := checkpoint.ReadWeights(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := checkpoint.Write(&plain, values, nil); err != nil {
		t.Fatal(err)
	}
	write(t, dir, name, plain.String())
	return dir
}

// configOf returns a file with the configuration of a run.
func configOf(t *testing.T, dir string) string {
	t.Helper()
	m, err := run.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), "config.json", string(m.Config))
}

// refused runs a command that must exit with 2 and write one line, after that of the backend, with
// all the words.
func refused(t *testing.T, name string, args []string, words ...string) {
	t.Helper()
	code, stdout, stderr := invoke(t.Context(), args...)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if strings.HasPrefix(lines[0], "backend: ") {
		lines = lines[1:]
	}
	if code != 2 || stdout != "" || len(lines) != 1 {
		t.Errorf("%s: mfm %v exits with %d and %q, %q; want 2 and one line", name, args, code, stdout, stderr)
		return
	}
	for _, word := range words {
		if !strings.Contains(lines[0], word) {
			t.Errorf("%s: mfm %v writes %q, want %q in it", name, args, lines[0], word)
		}
	}
}

// set gives the first element of a tensor a value.
func set(w *tensors.Tensor, value float64) {
	tensors.MustMutableFlatData(w, func(flat []float32) { flat[0] = float32(value) })
}

// Weights that are not exactly those of the model are refused by every command that opens them, by
// the name of a tensor. Before, they were random or partly random numbers, without a warning.
func TestWeightsMustFit(t *testing.T) {
	const tensor, bias = "/hidden_0/weights", "/output/biases"
	shipped := filepath.Join(shippedRuns, "gmm-small")
	sample := func(dir string) []string {
		return []string{"sample", "gmm", "--checkpoint", dir, "--n", "3", "--json"}
	}
	want := must(t, sample(shipped)...)
	values, _, err := checkpoint.ReadWeights(filepath.Join(shipped, "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{tensor, bias} {
		if values[name] == nil {
			t.Fatalf("the shipped weights have no %s", name)
		}
	}
	dims := values[tensor].Shape().Dimensions
	weightsOf := func(change func(checkpoint.Tensors)) string {
		return altered(t, shipped, "weights.safetensors", change)
	}
	same := weightsOf(func(checkpoint.Tensors) {})
	if got := must(t, sample(same)...); got != want {
		t.Errorf("samples with the same weights are %s, want %s", got, want)
	}
	unverified := unsigned(t, shipped, "weights.safetensors")
	refused(t, "no metadata", sample(unverified), "weights.safetensors has no checksum")
	refused(t, "initial weights without metadata", []string{"train", "gmm", "--config",
		configOf(t, shipped), "--steps", "1", "--init", unverified, "--out", filepath.Join(t.TempDir(), "out")},
		"weights.safetensors has no checksum")
	for _, tc := range []struct {
		name   string
		change func(checkpoint.Tensors)
		words  []string
	}{
		{"missing", func(w checkpoint.Tensors) { delete(w, tensor) }, []string{tensor, "is missing"}},
		{"renamed", func(w checkpoint.Tensors) {
			for name, value := range maps.Clone(w) {
				delete(w, name)
				w["module."+name] = value
			}
		}, []string{`"/`, "is missing", "more do not fit"}},
		{"superfluous", func(w checkpoint.Tensors) { w["/zzz"] = tensors.FromScalar(float32(1)) }, []string{"/zzz", "superfluous"}},
		{"no weights at all", func(w checkpoint.Tensors) { clear(w) }, []string{"is missing"}},
		{"element type", func(w checkpoint.Tensors) {
			w[bias] = tensors.FromShape(shapes.Make(dtypes.Float64, w[bias].Shape().Dimensions...))
		}, []string{bias, "Float64", "Float32"}},
		{"shape", func(w checkpoint.Tensors) {
			w[bias] = tensors.FromFlatDataAndDimensions([]float32{1, 2, 3}, 3)
		}, []string{bias, "[3]", "[2]"}},
		{"transposed", func(w checkpoint.Tensors) {
			w[tensor] = tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](w[tensor]), dims[1], dims[0])
		}, []string{tensor, "shape"}},
		{"not a number", func(w checkpoint.Tensors) { set(w[bias], math.NaN()) }, []string{bias, "not finite at element 0"}},
		{"infinite", func(w checkpoint.Tensors) { set(w[bias], math.Inf(-1)) }, []string{bias, "not finite"}},
	} {
		refused(t, tc.name, sample(weightsOf(tc.change)), append(tc.words, "weights.safetensors")...)
		// A tensor is named also if the checksum is absent or does not match.
		bad := weightsOf(tc.change)
		path := filepath.Join(bad, "weights.safetensors")
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, bad, "weights.safetensors", strings.Replace(string(content), `{"sha256 without`, `{"sha256_without`, 1))
		refused(t, tc.name+", no checksum", sample(bad), tc.words...)
		wrong := regexp.MustCompile(`without this entry":"....`).ReplaceAll(content, []byte(`without this entry":"0000`))
		write(t, bad, "weights.safetensors", string(wrong))
		refused(t, tc.name+", wrong checksum", sample(bad), tc.words...)
	}

	deeper := copied(t, shipped)
	config, err := os.ReadFile(filepath.Join(deeper, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(config, &manifest); err != nil {
		t.Fatal(err)
	}
	network := manifest["config"].(map[string]any)["network"].(map[string]any)
	network["depth"] = network["depth"].(float64) + 1
	if err := run.WriteJSON(filepath.Join(deeper, "config.json"), manifest); err != nil {
		t.Fatal(err)
	}
	refused(t, "changed depth", sample(deeper), "is missing")

	bad := weightsOf(func(w checkpoint.Tensors) { delete(w, tensor) })
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"eval", "gmm", "--checkpoint", bad},
		{"steer", "gmm", "--checkpoint", bad, "--out", out},
		{"tune", "gmm", "--checkpoint", bad, "--out", out},
		{"diagnose", "gmm", "--checkpoint", bad},
		{"tune", "distill", "--checkpoint", bad, "--base", bad, "--out", out},
	} {
		if args[1] == "distill" {
			refused(t, "other kind", args, "is of kind")
			continue
		}
		refused(t, "missing", args, tensor, "is missing")
	}
	network["depth"] = network["depth"].(float64) - 1
	own := filepath.Join(bad, "own.json")
	if err := run.WriteJSON(own, manifest["config"]); err != nil {
		t.Fatal(err)
	}
	refused(t, "initial weights", []string{"train", "gmm", "--config", own, "--steps", "1", "--init", bad, "--out", out},
		"initial weights", tensor, "is missing")
	refused(t, "initial weights, no checksum", []string{"train", "gmm", "--config", own, "--steps", "1", "--out", out,
		"--init", unsigned(t, bad, "weights.safetensors")}, "initial weights", tensor, "is missing")
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command has created its folder")
	}
}

// The prior and the classifiers of images are checked like weights.
func TestImagesWeightsMustFit(t *testing.T) {
	digits, judge := filepath.Join(shippedRuns, "digits"), filepath.Join(shippedRuns, "classifier")
	sample := func(dir string) []string { return []string{"sample", "digits", "--checkpoint", dir, "--json"} }
	for name, change := range map[string]func(checkpoint.Tensors){
		"means":       func(w checkpoint.Tensors) { delete(w, "means") },
		"more":        func(w checkpoint.Tensors) { w["more"] = w["rest"] },
		"covariances": func(w checkpoint.Tensors) { set(w["covariances"], math.NaN()) },
		"rest":        func(w checkpoint.Tensors) { w["rest"] = tensors.FromScalar(float32(1)) },
	} {
		bad := altered(t, digits, "prior.safetensors", change)
		refused(t, "prior", sample(bad), "prior.safetensors", `tensor "`+name+`"`)
		refused(t, "prior, no checksum", sample(unsigned(t, bad, "prior.safetensors")), `tensor "`+name+`"`)
	}
	const bias = "/output/biases"
	nan := func(w checkpoint.Tensors) { set(w[bias], math.NaN()) }
	refused(t, "prior", sample(unsigned(t, digits, "prior.safetensors")), "prior.safetensors has no checksum")
	refused(t, "map", sample(altered(t, digits, "weights.safetensors", func(w checkpoint.Tensors) { w["/more"] = w[bias] })), "/more")
	bad := altered(t, judge, "weights.safetensors", nan)
	noised := filepath.Join(shippedRuns, "classifier-noised")
	for _, args := range [][]string{
		{"eval", "digits", "--judge", bad, "--noised", noised},
		{"eval", "digits", "--judge", judge, "--noised", altered(t, noised, "weights.safetensors", nan)},
		{"steer", "digits", "--judge", bad, "--second", judge, "--out", t.TempDir(), "--method", "unsteered"},
	} {
		refused(t, "classifier", append(args, "--checkpoint", digits), bias, "not finite")
	}
}

// A resumed training checks the whole state, and a run without an intact checkpoint does not start
// from zero in silence.
func TestStateMustFit(t *testing.T) {
	dir := t.TempDir()
	config, out := write(t, dir, "tiny.json", tiny), filepath.Join(dir, "run")
	train := func(out string) []string {
		return []string{"train", "gmm", "--config", config, "--loss", "diagonal", "--steps", "4", "--every", "2", "--no-verdict", "--out", out}
	}
	must(t, train(out)...)
	want := sum(t, out, "weights.safetensors")
	c, _, err := checkpoint.Latest(out)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		tensor string
		change func(w *tensors.Tensor) *tensors.Tensor
		word   string
	}{
		"average":  {"/average/0/hidden_0/weights", func(*tensors.Tensor) *tensors.Tensor { return nil }, "is missing"},
		"moment":   {"/moments/first/output/biases", func(w *tensors.Tensor) *tensors.Tensor { set(w, math.NaN()); return w }, "not finite"},
		"moment's": {"/moments/second/output/biases", func(*tensors.Tensor) *tensors.Tensor { return tensors.FromScalar(float32(0)) }, "shape"},
		"more":     {"/weights/more", func(*tensors.Tensor) *tensors.Tensor { return tensors.FromScalar(float32(0)) }, "superfluous"},
		"random":   {"/state/rng", func(*tensors.Tensor) *tensors.Tensor { return tensors.FromScalar(float32(0)) }, "Float32"},
	} {
		state := maps.Clone(c.Tensors)
		if w := state[tc.tensor]; w != nil {
			if w, err = w.LocalClone(); err != nil {
				t.Fatal(err)
			}
			state[tc.tensor] = w
		}
		if state[tc.tensor] = tc.change(state[tc.tensor]); state[tc.tensor] == nil {
			delete(state, tc.tensor)
		}
		bad := copied(t, out)
		m, err := checkpoint.Open(bad, 1)
		if err == nil {
			err = m.Save(c.Step, state, c.Meta)
		}
		if err == nil {
			err = m.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		refused(t, name, train(bad), tc.tensor, tc.word)
	}

	files, err := filepath.Glob(filepath.Join(out, "step-*.safetensors"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, error %v", files, err)
	}
	gone, killed := copied(t, out), copied(t, out)
	for _, file := range files {
		if err := os.Truncate(file, 100); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{filepath.Base(file), strings.TrimSuffix(filepath.Base(file), ".safetensors") + ".json"} {
			if err := os.Remove(filepath.Join(gone, name)); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "json") {
				if err := os.Remove(filepath.Join(killed, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, dir := range map[string]string{"damaged": out, "gone": gone, "no manifest": killed} {
		refused(t, name, train(dir), "no checkpoint is intact", "--restart")
		if sum(t, dir, "weights.safetensors") != want {
			t.Errorf("%s: the refused command has changed the weights", name)
		}
		must(t, append(train(dir), "--restart")...)
		if sum(t, dir, "weights.safetensors") != want {
			t.Errorf("%s: after a restart the weights differ", name)
		}
	}
	must(t, append(train(filepath.Join(dir, "new")), "--restart")...) // nothing to lose
}

// A run knows its images by their content: by any path and from any folder, but no others.
func TestDataByContent(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o755); err != nil {
		t.Fatal(err)
	}
	smallImages(t, images)
	small := write(t, dir, "classifier.json", `{"network": {"channels": [4], "groups": 2, "embedding": 8}, "train": {"batch": 8}}`)
	tinyMap := write(t, dir, "tiny.json", `{"parametrization": "plain", "network": {"channels": [4], "attention": [], "heads": 1, "groups": 2, "embedding": 8}, "train": {"batch": 4}}`)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, images)
	if err != nil {
		t.Fatal(err)
	}
	classifier, digits := filepath.Join(dir, "classifier"), filepath.Join(dir, "digits")
	train := func(data string) [][]string {
		return [][]string{
			{"train", "classifier", "--config", small, "--steps", "2", "--data", data, "--out", classifier},
			{"train", "digits", "--config", tinyMap, "--loss", "diagonal", "--steps", "2", "--data", data, "--no-verdict", "--out", digits},
		}
	}
	sample := []string{"sample", "digits", "--checkpoint", digits, "--json", "--backend", "go"}
	for _, data := range []string{relative, images + "/", filepath.Join(here, "..") + "/mfm/" + relative} {
		for _, args := range train(data) {
			must(t, args...)
		}
	}
	want := must(t, sample...)
	t.Chdir(t.TempDir())
	if got := must(t, sample...); got != want {
		t.Error("samples differ in another working directory")
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(images, moved); err != nil {
		t.Fatal(err)
	}
	refused(t, "no images", sample, images)
	if got := must(t, append(sample, "--data", moved)...); got != want {
		t.Error("samples differ with the same images in another folder")
	}
	t.Chdir(here)
	for _, args := range train(moved) {
		must(t, args...)
	}
	// Exchange an image in the same folder.
	path := filepath.Join(moved, "train-images-idx3-ubyte")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1]++
	write(t, moved, filepath.Base(path), string(raw))
	for _, args := range append(train(moved), append(sample, "--data", moved)) {
		refused(t, "exchanged image", args, "the data have changed")
	}
}

// Finite weights can have samples that are not finite. A command that would print them says so, in
// both forms of its result, and draws no figure.
func TestResultsMustBeFinite(t *testing.T) {
	huge := func(w checkpoint.Tensors) {
		for _, values := range w {
			tensors.MustMutableFlatData(values, func(flat []float32) {
				for i := range flat {
					flat[i] = 1e38
				}
			})
		}
	}
	mixture := altered(t, filepath.Join(shippedRuns, "gmm-small"), "weights.safetensors", huge)
	digits := altered(t, filepath.Join(shippedRuns, "digits"), "weights.safetensors", huge)
	figure := filepath.Join(t.TempDir(), "samples.png")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"sample", "gmm", "--checkpoint", mixture, "--n", "2"}, "the result is not finite: [0][0] is NaN"},
		{[]string{"sample", "gmm", "--checkpoint", mixture, "--n", "2", "--json"}, "the result is not finite: [0][0] is NaN"},
		{[]string{"eval", "gmm", "--checkpoint", mixture, "--contexts", "1", "--samples", "8"}, "samples are not finite"},
		{[]string{"sample", "digits", "--checkpoint", digits, "--n", "1", "--contexts", "1", "--out", figure},
			"number 0 of the samples is NaN: they have diverged"},
	} {
		code, stdout, stderr := invoke(t.Context(), tc.args...)
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		if code != 1 || stdout != "" || len(lines) != 2 || !strings.Contains(lines[1], tc.want) {
			t.Errorf("mfm %v: exit code %d, %q, %q; want 1 and %q in one line", tc.args, code, stdout, stderr, tc.want)
		}
	}
	if _, err := os.Stat(figure); err == nil {
		t.Error("a figure of samples that are not finite is drawn")
	}
}
