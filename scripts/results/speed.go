package main

import (
	"fmt"
	"slices"
)

// speedTable is the rate of training steps and steered runs beside JAX's.
func (s *store) speedTable() string {
	cases := map[string]string{"mlp": "MLP", "unet": "UNet", "dit": "transformer", "steer": "steered run"}
	names := map[string]string{"mfm-g": "MFM-G", "mfm-gf": "MFM-GF", "one-step": "samples in one step"}
	var rates, costs [][]string
	for _, r := range s.rows("bench.json") {
		number := func(format, key string) string {
			if _, measured := r.value(key); !measured {
				return ""
			}
			return fmt.Sprintf(format, r.Num(key))
		}
		loss := r.Text("loss")
		name := []string{cases[r.Text("case")], lossNames[loss] + names[loss]}
		rates = append(rates, append(slices.Clone(name), number("%.1f", "steps_per_s"), number("%.1f", "jax_steps_per_s"),
			number("%.2f", "ratio"), number("%.1f", "jax_wide_steps_per_s"), number("%.2f", "ratio_wide"), number("%.2f", "share")))
		costs = append(costs, append(name, number("%.1f", "forward_ms"), number("%.1f", "jvp_ms"), number("%.1f", "double_reverse_ms"),
			number("%.1f", "compile_s"), comma(r.Num("peak_rss_mb"))))
	}
	return table("network | loss | steps/s | JAX | ratio | JAX, 512 bits | ratio | share", rates) + "\n\n" +
		table("network | loss | forward, ms | forward and JVP, ms | double reverse, ms | compile, s | peak memory, MB", costs)
}

// checkpointClaim says whether checkpoints at least halve the memory of the gradient of MFM-G, and
// do not change it.
func (s *store) checkpointClaim() string {
	group := s.rows("precision.json:memory", "network=reward")
	with := where(group, "checkpoint=true")
	ratio := only("temporary_mb", with) / only("temporary_mb", where(group, "checkpoint=false"))
	difference := only("difference", with)
	verdict := "reached"
	if !(ratio <= 0.5 && difference <= 1e-5) {
		verdict = "not reached"
	}
	return fmt.Sprintf("Wanted of MFM-G: at most half of the memory, and the same gradient to 1e-5. With checkpoints it needs "+
		"%.2f of it,\nand the gradients differ by %.1e of their length here: **%s**.", ratio, difference, verdict)
}

// checkpointProcess formats by how much checkpoints change the memory of the process, by gradient.
func (s *store) checkpointProcess() string {
	names := map[string]string{"dit": "the transformer", "decoder": "the decoder", "reward": "MFM-G"}
	var parts []string
	for _, group := range groupBy(s.rows("precision.json:memory"), "network") {
		ratio := only("peak_rss_mb", where(group, "checkpoint=true")) / only("peak_rss_mb", where(group, "checkpoint=false"))
		parts = append(parts, fmt.Sprintf("%+.0f %% for %s", 100*(ratio-1), names[group[0].Text("network")]))
	}
	return enumerate(parts)
}

// checkpointTable is the memory of gradients with and without checkpoints.
func (s *store) checkpointTable() string {
	names := map[string]string{"dit": "transformer", "decoder": "decoder", "reward": "MFM-G"}
	var lines [][]string
	for _, group := range groupBy(s.rows("precision.json:memory"), "network") {
		without, with := where(group, "checkpoint=false"), where(group, "checkpoint=true")
		a, b := only("temporary_mb", without), only("temporary_mb", with)
		lines = append(lines, []string{
			names[group[0].Text("network")], comma(a), comma(b), fmt.Sprintf("%.2f", b/a),
			comma(only("peak_rss_mb", without)), comma(only("peak_rss_mb", with)),
		})
	}
	return table("gradient of | temporary, MB | with checkpoints, MB | ratio | process, MB | with checkpoints, MB", lines)
}
