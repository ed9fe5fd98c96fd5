package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

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
		"self", "--steps", "12", "--rate", "0.1", "--out"}
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
