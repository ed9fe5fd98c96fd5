package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// parityTable compares networks with their originals.
func (s *store) parityTable() string {
	var lines [][]string
	for _, r := range s.rows("parity.json", "kind!=tiny autoencoder") {
		errors, _ := r.fields["errors"].(map[string]any)
		outputs := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(errors)), ", "), "out.", "")
		lines = append(lines, []string{
			r.Text("network"), r.Text("kind"), outputs, power(1, r.Num("largest")), r.format("%.0f", "seconds"),
			comma(r.Num("peak_rss_mb")),
		})
	}
	return table("network | kind | outputs | largest relative error | seconds | memory, MB", lines)
}

// idleTable says how trainings spend their time.
func (s *store) idleTable() string {
	names := map[string]string{"dit": "transformer, latents in memory", "autoencoder": "autoencoder, picture files"}
	var lines [][]string
	for _, r := range s.rows("idle.json") {
		percent := func(key string) string { return fmt.Sprintf("%.2f %%", 100*r.Num(key)) }
		lines = append(lines, []string{
			names[r.Text("network")], r.format("%.0f", "batch"), r.format("%.0f", "steps"), r.format("%.0f", "step_ms"),
			percent("wait_share"), percent("host_share"),
		})
	}
	return table("training | batch | steps | step, ms | waiting | outside the step", lines)
}

// killTable counts the trainings that were killed and resumed.
func (s *store) killTable() string {
	names := map[string]string{
		"gmm": "map of a mixture", "imagenet": "map of latents, in memory", "streamed": "map of latents, streamed",
	}
	var lines [][]string
	for _, r := range s.rows("kill_test.json") {
		lines = append(lines, []string{names[r.Text("task")], r.format("%.0f", "kills"), r.format("%.0f", "equal")})
	}
	return table("training | kills | equal bits", lines)
}

// fuzzTable has the executions of the fuzz targets of each package.
func (s *store) fuzzTable() string {
	var lines [][]string
	for _, group := range groupBy(s.rows("fuzz.json"), "package") {
		var names []string
		for _, r := range group {
			names = append(names, strings.TrimPrefix(r.Text("target"), "Fuzz"))
		}
		n := total("executions", group)
		lines = append(lines, []string{
			"`" + group[0].Text("package") + "`", strings.Join(names, ", "), comma(n),
			comma(n / total("seconds", group)),
			comma(total("interesting", group)), fmt.Sprint(total("findings", group)),
		})
	}
	return table("package | targets | executions | per second | new inputs | findings", lines)
}

// total returns the sum of the numbers at a key.
func total(key string, rows []row) (sum float64) {
	for _, r := range rows {
		sum += r.Num(key)
	}
	return sum
}
