package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func testdata(name string) string {
	return filepath.Join("..", "..", "mfm", "pretrained", "testdata", name)
}

func TestParityOfAFile(t *testing.T) {
	errs := decode[map[string]float64](t, must(t, "parity", testdata("dit_qk_norm.safetensors"), "--json"))
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
	evil := write(t, dir, "evil.pt", "\x80\x02cposix\nsystem\n(S'echo owned'\ntR.")
	for _, tc := range []struct {
		args    []string
		message string
	}{
		{[]string{"weights", "inspect", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"weights", "inspect", dir}, "not a regular file"},
		{[]string{"weights", "inspect", text}, "unknown format"},
		{[]string{"weights", "inspect", evil}, "the file calls posix.system"},
		{[]string{"parity", text}, "the format's limit is"},
		{[]string{"parity"}, "FILE is missing"},
	} {
		code, _, stderr := invoke(t.Context(), tc.args...)
		if code != 2 || !strings.Contains(stderr, tc.message) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q, want 2 and %q", tc.args, code, stderr, tc.message)
		}
	}
}
