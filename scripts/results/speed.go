package main

import "fmt"

// speedTable is the rate of training steps and steered runs beside JAX's.
func (s *store) speedTable() string {
	cases := map[string]string{"mlp": "MLP", "unet": "UNet", "steer": "steered run"}
	names := map[string]string{"mfm-g": "MFM-G", "mfm-gf": "MFM-GF"}
	var lines [][]string
	for _, r := range s.rows("bench.json") {
		number := func(format, key string) string {
			if _, measured := r.value(key); !measured {
				return ""
			}
			return fmt.Sprintf(format, r.Num(key))
		}
		loss := r.Text("loss")
		lines = append(lines, []string{
			cases[r.Text("case")], lossNames[loss] + names[loss],
			number("%.1f", "steps_per_s"), number("%.1f", "jax_steps_per_s"), number("%.2f", "ratio"),
			number("%.1f", "forward_ms"), number("%.1f", "jvp_ms"), number("%.1f", "double_reverse_ms"),
			number("%.1f", "compile_s"), comma(r.Num("peak_rss_mb")),
		})
	}
	return table("network | loss | steps/s | JAX | ratio | forward | forward and JVP | double reverse | compile, s | "+
		"peak memory, MB", lines)
}
