package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
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
