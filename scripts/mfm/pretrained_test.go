package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	goimage "image"
	"image/png"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

func testdata(name string) string {
	return filepath.Join("..", "..", "mfm", "pretrained", "testdata", name)
}

func TestParityOfAFile(t *testing.T) {
	code, stdout, stderr := invoke(t.Context(), "parity", testdata("dit_qk_norm.safetensors"), "--json")
	if code != 0 || !strings.Contains(stderr, "network: transformer\n") {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	errs := decode[map[string]float64](t, stdout)
	for _, key := range []string{"out.v", "out.jvp_s_x", "out.jvp_u", "out.grad_x_cond"} {
		if e, ok := errs[key]; !ok || !(e <= maxParityError) || len(errs) != 4 {
			t.Errorf("%s: relative error %g of %v", key, e, errs)
		}
	}
}

func TestWeightsInspect(t *testing.T) {
	all := decode[[]tensorSummary](t, must(t, "weights", "inspect", testdata("zip.pt"), "--json"))
	if len(all) != 13 || all[0].Name != "optimizer_states.0.state.0.exp_avg" || all[0].Type != "Float32" {
		t.Errorf("%d tensors, the first %+v", len(all), all[0])
	}
}

func TestWeightsRefuses(t *testing.T) {
	dir := t.TempDir()
	text := write(t, dir, "text.safetensors", "hello, this is no file of weights")
	sit := testdata("sit.safetensors")
	evil := write(t, dir, "evil.pt", "\x80\x02cposix\nsystem\n(S'echo owned'\ntR.")
	for _, tc := range []struct {
		args    []string
		message string
	}{
		{[]string{"weights", "inspect", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"weights", "inspect", dir}, "not a regular file"},
		{[]string{"weights", "inspect", text}, "unknown format"},
		{[]string{"weights", "inspect", evil}, "the file calls posix.system"},
		{[]string{"weights", "inspect", testdata("objects.npz")}, "objects, which are a pickle"},
		{[]string{"weights", "convert", sit}, "--to is missing"},
		{[]string{"weights", "convert", sit, "--to", dir + "/a.safetensors"}, "the number of heads"},
		{[]string{"weights", "convert", sit, "--to", dir + "/a", "--set", "heads=3"}, "3 heads do not divide"},
		{[]string{"weights", "convert", sit, "--to", dir + "/a", "--set", "head=2"}, "head"},
		{[]string{"weights", "convert", sit, "--to", dir + "/a", "--kind", "unet"}, `kind "unet" is unknown`},
		{[]string{"weights", "convert", sit, "--to", dir + "/a", "--kind", "autoencoder"}, `no tensor "encoder.conv_in.weight"`},
		{[]string{"weights", "convert", sit, "--to", dir + "/a", "--prefix", "ema"}, `has the prefixes "weight."`},
		{[]string{"weights", "convert", sit, "--to", text, "--set", "heads=2"}, "exists: remove it"},
		{[]string{"weights", "convert", sit, "--to", evil, "--set", "heads=2"}, "is not a folder"},
		{[]string{"weights", "convert", sit, "--to", shippedRuns + "digits", "--set", "heads=2"}, "has weights already"},
		{[]string{"weights", "convert", evil, "--to", dir + "/a"}, "the file calls posix.system"},
		{[]string{"weights", "get", "sit"}, "want one of mfm-xl-2, dmf-xl-2"},
		{[]string{"weights", "get", "sit-b-2", "--mirror", "ftp://x"}, "a URL of http or https"},
		{[]string{"parity", text}, "the format's limit is"},
		{[]string{"parity"}, "FILE is missing"},
	} {
		code, _, stderr := invoke(t.Context(), tc.args...)
		if code != 2 || !strings.Contains(stderr, tc.message) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q, want 2 and %q", tc.args, code, stderr, tc.message)
		}
	}
}

// A converted network is a file, or a run that opens with exactly the weights of its model.
func TestWeightsConvert(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "sit.safetensors"), filepath.Join(dir, "sit")
	flags := []string{"weights", "convert", testdata("sit.safetensors"), "--set", "heads=2", "--set", "encoder=1", "--json", "--to"}
	for _, to := range []string{file, folder} {
		got := decode[struct {
			To, Kind, Prefix  string
			Config            nn.DiTConfig
			Tensors, Elements int
		}](t, must(t, append(flags, to)...))
		if got.To != to || got.Kind != "dit" || got.Prefix != "weight." || got.Config.Encoder != 1 || got.Tensors != 52 {
			t.Errorf("%+v", got)
		}
	}
	converted, err := pretrained.ReadConverted(file)
	if err != nil {
		t.Fatal(err)
	}
	var c image.Config
	if _, err := run.ReadConfig(folder, &c, image.Kind); err != nil {
		t.Fatal(err)
	}
	m := mfm.Model{Shape: []int{4, 4, 3}, Classes: c.Network.ClassCount(), Map: &mfm.Map{
		Interpolant: interpolant.Linear{}, Backbone: c.Network.Backbone(), Parametrization: mfm.Plain{},
	}}
	store, err := run.Open(folder, m.Shapes)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := run.Weights(store)
	if err != nil || len(weights) != 52 {
		t.Fatalf("%d weights, %v", len(weights), err)
	}
	for path, w := range weights {
		if !w.Equal(converted.Weights[path]) {
			t.Errorf("%s differs between the file and the folder", path)
		}
	}
	code, _, stderr := invoke(t.Context(), append(flags, folder)...)
	if code != 2 || !strings.Contains(stderr, "has weights already") {
		t.Errorf("a second time: exit code %d, %q", code, stderr)
	}
}

// A download shows the license first, comes from the mirrors that the environment names, and needs
// no request the second time.
func TestWeightsGet(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; r.URL.Path == "/mirror/nyu-visionx/SiT-collections/resolve/main/SiT-B-2-256.pt" {
			http.ServeContent(w, r, "x", time.Time{}, strings.NewReader("weights"))
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL+"/gone,"+server.URL+"/mirror")
	dir := t.TempDir()
	for i, want := range []string{"compared with nothing; recorded", "the same as that of an earlier download"} {
		before := requests
		code, stdout, stderr := invoke(t.Context(), "weights", "get", "SiT-B/2", "--out", dir)
		license := strings.Index(stderr, "license: none is known here: read https://huggingface.co/nyu-visionx/")
		if code != 0 || license < 0 || !strings.Contains(stdout, want) || !strings.Contains(stdout, "--kind dit --set reversed=false --to") ||
			i > 0 != (requests == before) {
			t.Errorf("exit code %d, %q, %q, %d requests", code, stdout, stderr, requests-before)
		}
		if progress := strings.Index(stderr, "SiT-B-2-256.pt  "); i == 0 && progress < license {
			t.Errorf("the license does not come first: %q", stderr)
		}
	}
	got := decode[pretrained.Obtained](t, must(t, "weights", "get", "sit-b-2", "--file", filepath.Join(dir, "SiT-B-2-256.pt"), "--json"))
	if got.Size != 7 || got.Compared != pretrained.Recorded {
		t.Errorf("%+v", got)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	code, _, stderr := invoke(t.Context(), "weights", "get", "sit-xl-2", "--out", dir)
	if code != 1 || !strings.Contains(stderr, "downloads are off") {
		t.Errorf("offline: exit code %d, %q", code, stderr)
	}
	code, _, stderr = invoke(t.Context(), "weights", "get", "sd-vae-ft-mse", "--file", filepath.Join(dir, "SiT-B-2-256.pt"))
	if code != 2 || !strings.Contains(stderr, "has 7 bytes, sd-vae-ft-mse has 334643276") || !strings.Contains(stderr, "license: MIT") {
		t.Errorf("another file: exit code %d, %q", code, stderr)
	}
	t.Setenv("HF_ENDPOINT", "example.org")
	if code, _, stderr = invoke(t.Context(), "weights", "get", "sit-xl-2", "--out", dir); code != 2 || !strings.Contains(stderr, "HF_ENDPOINT") {
		t.Errorf("an address that is none: exit code %d, %q", code, stderr)
	}
}

// colors are the pictures of make_references.py of package distance, [n, 8, 8, 3].
func colors(n, shift int) []uint8 {
	var levels []uint8
	for i := shift; i < n+shift; i++ {
		for y := range 8 {
			for x := range 8 {
				for c := range 3 {
					levels = append(levels, uint8((37*i*i+61*y*(i+1)+29*x*x+83*c+i*x*y)%(256-shift)))
				}
			}
		}
	}
	return levels
}

// colorPNGs writes pictures to a folder of PNGs.
func colorPNGs(t *testing.T, dir string, levels []uint8) {
	t.Helper()
	for i, levels := range slices.Collect(slices.Chunk(levels, 8*8*3)) {
		picture := goimage.NewNRGBA(goimage.Rect(0, 0, 8, 8))
		for k, v := range levels {
			picture.Pix[k/3*4+k%3], picture.Pix[k/3*4+3] = v, 255
		}
		var content bytes.Buffer
		if err := png.Encode(&content, picture); err != nil {
			t.Fatal(err)
		}
		write(t, dir, string(rune('a'+i/26))+string(rune('a'+i%26))+".png", content.String())
	}
}

// savez writes a file of numpy.savez with one array.
func savez[T uint8 | float32](t *testing.T, path, name string, values []T, shape ...int) {
	t.Helper()
	var content bytes.Buffer
	z := zip.NewWriter(&content)
	w, err := npy.Entry(z, name)
	if err == nil {
		err = npy.Write(w, values, shape...)
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(path, content.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The distance of two sets of pictures is that of pytorch-fid with the same network of random
// weights, whether they are PNGs or an array, in shards or at once, and from their stored features.
func TestEvalFID(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "mfm", "experiment", "distance", "testdata", "distances.json"))
	var want struct{ Pictures float64 }
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	dir := t.TempDir()
	samples, array := filepath.Join(dir, "samples"), filepath.Join(dir, "reference.npz")
	if err := os.Mkdir(samples, 0o755); err != nil {
		t.Fatal(err)
	}
	colorPNGs(t, samples, colors(n, 0))
	savez(t, array, "arr_0", colors(n, 100), n, 8, 8, 3)
	network, err := pretrained.ReadReference(testdata("inception.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	inception := filepath.Join(dir, "inception.safetensors")
	if err := checkpoint.WriteWeights(inception, network.Weights, nil); err != nil {
		t.Fatal(err)
	}
	weights := []string{"eval", "fid", "--weights", inception, "--json"}
	a, b, moments := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "moments.npz")
	must(t, append(slices.Clone(weights), "--samples", array, "--save", moments, "--out", b)...)
	of := append(slices.Clone(weights), "--samples", samples, "--out", a)
	must(t, append(slices.Clone(of), "--shard", "1/2")...) // has no pictures
	must(t, append(slices.Clone(of), "--shard", "0/2")...)
	file := filepath.Join(a, "features-000000.npy")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	r := decode[distance.Result](t, must(t, append(slices.Clone(of), "--statistics", moments)...))
	if after, err := os.Stat(file); err != nil || after.ModTime() != before.ModTime() {
		t.Errorf("features that were there were computed again (%v)", err)
	}
	if !(math.Abs(r.Frechet-want.Pictures) <= 1e-3*want.Pictures) || r.Name != distance.Frechet || r.Samples != n ||
		r.Reference != n || !strings.HasPrefix(r.Features, "inception-2015-12-05 pool3 of inception.safetensors") {
		t.Errorf("result %+v, want pytorch-fid's %.6g of %d samples", r, want.Pictures, n)
	}
	stored := decode[distance.Result](t, must(t, "eval", "fid", "--features", a, b, "--json"))
	if !(math.Abs(stored.Frechet-r.Frechet) <= 1e-9*r.Frechet) || stored.Manifolds == nil || stored.Size != n {
		t.Errorf("stored features: %+v, want the distance %g", stored, r.Frechet)
	}
	again := decode[distance.Result](t, must(t, "eval", "fid", "--features", a, "--statistics", moments, "--json"))
	if !(math.Abs(again.Frechet-r.Frechet) <= 1e-9*r.Frechet) || again.Manifolds != nil {
		t.Errorf("stored features against moments: %+v, want the distance %g", again, r.Frechet)
	}
	text := must(t, "eval", "fid", "--features", a, b)
	if !strings.HasPrefix(text, "Fréchet distance 0.01") || !strings.Contains(text, "\nkernel distance 0.0") {
		t.Errorf("of other weights: %s", text)
	}
	// Folders say of what network their features are, which those of other weights are not compared
	// with.
	described := func(name, weights string) string {
		folder := filepath.Join(dir, name)
		if err := os.CopyFS(folder, os.DirFS(a)); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(folder, "features.json"))
		if err != nil {
			t.Fatal(err)
		}
		var set map[string]any
		if err := json.Unmarshal(raw, &set); err != nil {
			t.Fatal(err)
		}
		set["weights"] = weights
		if raw, err = json.Marshal(set); err != nil {
			t.Fatal(err)
		}
		write(t, folder, "features.json", string(raw))
		return folder
	}
	published, same := described("published", "6726825d00"), described("same", "6726825d00")
	for name, args := range map[string][]string{
		"FID": {same}, distance.Frechet: {filepath.Join(a, "features-000000.npy")},
	} {
		args = append([]string{"eval", "fid", "--json", "--features", published}, args...)
		if r := decode[distance.Result](t, must(t, args...)); r.Name != name {
			t.Errorf("%q: the distance is named %s, want %s", args, r.Name, name)
		}
	}
	one, bad := filepath.Join(dir, "one"), filepath.Join(dir, "bad")
	for _, folder := range []string{one, bad} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	colorPNGs(t, one, colors(1, 0))
	colorPNGs(t, bad, colors(2, 0))
	write(t, bad, "z.png", "")
	small := filepath.Join(dir, "small.npz")
	savez(t, small, "features", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)
	short := filepath.Join(dir, "short.npz")
	savez(t, short, "features", []float32{1, 2, 3, 4}, 2, 2)
	levels := filepath.Join(dir, "levels.npz")
	savez(t, levels, "features", []uint8{1, 2, 3, 4}, 2, 2)
	spoiled := filepath.Join(dir, "nan.npz")
	savez(t, spoiled, "features", []float32{1, 2, 3, 4, 5, float32(math.NaN()), 7, 8}, 4, 2)
	for message, args := range map[string][]string{
		"either --features":                {"eval", "fid"},
		"features of the reference":        {"eval", "fid", "--features", small},
		"128 features of a sample":         {"eval", "fid", "--features", a, small},
		"moments of 128 features":          {"eval", "fid", "--features", small, "--statistics", moments},
		"only 2 features: give at least 4": {"eval", "fid", "--features", small, short},
		"feature 1 of row 2 is NaN":        {"eval", "fid", "--features", small, spoiled},
		"want floating-point numbers":      {"eval", "fid", "--features", levels, small},
		`no array "mu": name one of`:       {"eval", "fid", "--features", small, "--statistics", small},
		`no array "x"`:                     {"eval", "fid", "--features", small, small, "--array", "x"},
		"no such file":                     {"eval", "fid", "--features", filepath.Join(dir, "none"), small},
		"--weights is missing":             {"eval", "fid", "--samples", samples, "--statistics", moments},
		"--statistics is missing":          append(slices.Clone(weights), "--samples", samples),
		"one picture":                      append(slices.Clone(weights), "--samples", one, "--statistics", moments),
		"z.png is empty":                   append(slices.Clone(weights), "--samples", bad, "--statistics", moments),
		"features of other pictures":       append(slices.Clone(of), "--samples", array),
		"in which the shards meet":         append(slices.Clone(weights), "--samples", samples, "--shard", "0/2"),
		"computes features alone":          append(slices.Clone(of), "--shard", "0/2", "--statistics", moments),
		"SHA-256 6726825d: give features":  {"eval", "fid", "--features", a, published},
		"neither an Inception":             {"eval", "fid", "--samples", samples, "--out", a, "--weights", testdata("zip.pt")},
		"unexpected argument":              append(slices.Clone(of), small),
		"size = 1":                         {"eval", "fid", "--features", small, small, "--size", "1"},
	} {
		if code, _, stderr := invoke(t.Context(), args...); code != 2 || !strings.Contains(stderr, message) {
			t.Errorf("%q: exit code %d, %s", message, code, stderr)
		}
	}
}
