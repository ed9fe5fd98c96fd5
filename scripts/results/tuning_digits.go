package main

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/tune"
)

// lateKL is [tune.LateKL] of the evaluations along a training.
func lateKL(r row) (mean, se float64) {
	var all []tune.Evaluation
	for _, e := range r.list("evaluations") {
		all = append(all, tune.Evaluation{Step: int64(e.Num("step")), KL: e.Num("kl"), KLSE: e.Num("kl_se")})
	}
	return tune.LateKL(all)
}

// tunedDigits returns the runs of the sweep over λ on digits: the tilted prior alone, which has one
// step of training, or the tuned drift.
func (s *store) tunedDigits(tuned bool, conditions ...string) []row {
	steps := "tune_steps=1"
	if tuned {
		steps = "tune_steps=1000"
	}
	return s.rows("finetuning_mnist.json", append(conditions, "method=mfm-ft-gf", "network=tilted-copy", steps)...)
}

// digitsTuningTable is the comparison of the methods of fine-tuning on digits.
func (s *store) digitsTuningTable() string {
	var lines [][]string
	add := func(label string, r row) {
		lambda, steps, kl := comma(r.Num("lambda")), comma(r.Num("tune_steps")), ""
		if r.Num("lambda") < 1 {
			lambda = "10⁻⁶"
		}
		if r.Num("tune_steps") == 1 {
			steps = ""
		} else {
			m, se := lateKL(r)
			kl = fmt.Sprintf("%.2f ± %.2f", m, se)
		}
		lines = append(lines, []string{
			label, r.Text("network"), lambda, steps, comma(r.Num("tune_nfe")),
			r.format("%.3f", "l2"), r.format("%.3f", "l2_floor"), r.format("%.3f", "l2_second_evaluator"),
			fmt.Sprintf("%.2f (%.2f)", r.Num("reward"), r.Num("reward_target")), r.format("%.2f", "distance"),
			r.format("%.2f", "diversity"), kl,
		})
	}
	add("prior alone", s.tunedDigits(false, "lambda=1e-6")[0])
	for _, lambda := range []int{1, 2, 5, 10, 20, 50, 100, 1000} {
		at := fmt.Sprintf("lambda=%d", lambda)
		add("prior alone", s.tunedDigits(false, at)[0])
		add("MFM-FT", s.tunedDigits(true, at)[0])
	}
	add("MFM-FT", s.rows("finetuning_mnist.json", "method=mfm-ft-gf", "network=copy")[0])
	add("MFM-FT, with gradient", s.rows("finetuning_mnist.json", "method=mfm-ft")[0])
	add("plug-in MFM-GF", s.rows("finetuning_mnist.json", "method=plug-in-mfm-gf")[0])
	add("reward-weighted", s.rows("finetuning_mnist.json", "method=reward-weighted")[0])
	return table("method | network | λ | steps | NFE | L2 | L2 floor | by the second evaluator | reward (target's) | "+
		"distance | diversity | KL, nats", lines)
}

// provoked returns the last evaluation of the run on digits whose failure was provoked at λ, with
// that run at the key run.
func (s *store) provoked(lambda string) []row {
	r := s.rows("finetuning_mnist.json", "method=plug-in-mfm-g", "lambda="+lambda)[0]
	evaluations := r.list("evaluations")
	last := map[string]any{"run": r.fields}
	for key, v := range evaluations[len(evaluations)-1].fields {
		last[key] = v
	}
	return []row{{r.file, last}}
}

// mostLateKL returns the largest late divergence of the trainings over that of their targets.
func mostLateKL(rows []row) float64 {
	largest := 0.0
	for _, r := range rows {
		kl, _ := lateKL(r)
		largest = max(largest, kl/r.Num("kl_target"))
	}
	return largest
}
