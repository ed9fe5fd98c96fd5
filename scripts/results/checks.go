package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
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

// planFile has the results of mfm bench --case plan.
const planFile = "imagenet_plan.json"

// planPeak is the peak rate in TFLOP/s of products of bfloat16, without sparsity, in NVIDIA's data
// sheets of H100 SXM and H200 SXM, and planShare the share of it that a step is assumed to sustain.
const planPeak, planShare = 989., 0.4

// planMemory is the memory of an H200 in GB.
const planMemory = 141.

// mib converts GB to MiB.
func mib(gb float64) float64 { return gb * 1e9 / (1 << 20) }

// planRows are the plans at the scale of the paper by batch, and the memory that the activations of
// a further picture take, in MB; 0 if it is not known.
func (s *store) planRows() (all []row, slope float64) {
	all = s.rows(planFile, "scale=paper")
	slices.SortFunc(all, func(a, b row) int { return cmp.Compare(a.Num("batch"), b.Num("batch")) })
	if a, b := all[0], all[len(all)-1]; len(all) > 1 {
		slope = (b.Num("temporary_mb") - a.Num("temporary_mb")) / (b.Num("batch") - a.Num("batch"))
	}
	return all, slope
}

// planTable estimates the memory and the time of the paper's steering on one GPU.
func (s *store) planTable() string {
	all, _ := s.planRows()
	var lines [][]string
	for _, r := range all {
		gb := func(mb float64) string { return fmt.Sprintf("%.1f", mb/1024) }
		weights, temporary, operations := r.Num("weights_mb"), r.Num("temporary_mb"), paperSteps*r.Num("gflop")/1000
		lines = append(lines, []string{
			r.format("%.0f", "batch"), gb(weights), gb(temporary), gb(weights + temporary), fmt.Sprintf("%.0f", operations),
			"",
		})
		if weights+temporary <= mib(planMemory) {
			lines[len(lines)-1][5] = fmt.Sprintf("%.0f", 60*planShare*planPeak/operations)
		}
	}
	return table("batch | weights, GiB | activations, GiB | peak, GiB | TFLOP a picture | pictures a minute", lines)
}

// planClaim says how good the same estimates are for the emoji, where the step runs.
func (s *store) planClaim() string {
	r := s.rows(planFile, "scale=small")[0]
	planned, operations := r.Num("temporary_mb"), r.Num("batch")*r.Num("gflop")
	all, slope := s.planRows()
	p, fits := all[len(all)-1], ""
	if slope > 0 {
		pictures := func(gb float64) string {
			free := mib(gb) - p.Num("weights_mb") - p.Num("temporary_mb")
			return comma(math.Floor(p.Num("batch") + free/slope))
		}
		fits = fmt.Sprintf("A picture takes %.2f GiB by the first and the last row: about %s at a time fit into the 80 GB "+
			"of an H100, and %s into the 141 GB of an H200. ", slope/1024, pictures(80), pictures(planMemory))
	}
	return fits + fmt.Sprintf("Parameters: %s of the map, %s of the decoder, %s of the reward's network. The same step for a batch of %s emoji runs "+
		"here: XLA plans %.2f GiB of activations, and the first call adds %.2f GiB to the process, %.2f times that. It needs %.0f GFLOP and "+
		"takes %.1f s, %.0f %% of the rate of matrix products in the same process, %.0f GFLOP/s.",
		comma(p.Num("parameters.0")), comma(p.Num("parameters.1")), comma(p.Num("parameters.2")), comma(r.Num("batch")), planned/1024,
		r.Num("added_mb")/1024, r.Num("added_mb")/planned, operations, r.Num("seconds"),
		100*operations/r.Num("seconds")/r.Num("matrix_gflops"), r.Num("matrix_gflops"))
}
