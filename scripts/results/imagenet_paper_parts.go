package main

import (
	"fmt"
	"strings"

	"github.com/gomfm/gomfm/mfm"
)

// paperParts has a line for each loss, method and reward of the paper, with links to where it is
// measured and one number of it.
func (s *store) paperParts() string {
	var lines [][]string
	add := func(kind, name, where, number string) { lines = append(lines, []string{kind, name, where, number}) }
	const losses = "[mixture](#mixture-which-loss), [in equal time](#random-mixtures-which-loss-in-equal-time), " +
		"[digits](#which-loss-on-digits-in-equal-time)"
	add("loss", "diagonal, from data or by GLASS", "a part of each of the next four: [mixture](#mixture-which-loss)", "")
	for _, l := range []struct {
		name string
		of   mfm.Consistency
	}{{"Mean Flow", mfm.MeanFlow}, {"Eulerian", mfm.Eulerian}, {"Lagrangian", mfm.Lagrangian}, {"semigroup", mfm.Semigroup}} {
		var parts []string
		for _, d := range []mfm.Distillation{mfm.Self, mfm.Teacher} {
			rows := filter(s.rows("gmm_sweep.json"), "loss="+string(l.of), "distillation="+string(d))
			if len(rows) > 0 {
				parts = append(parts, fmt.Sprintf("%s (%s)", within("%.3f", "mean_excess", rows), d))
			}
		}
		add("loss", l.name, losses, "mixture: mean excess "+strings.Join(parts, ", "))
	}
	pictures := ""
	if s.exists(tunedFile) {
		pictures = ", [pictures](#pictures-fine-tuned-in-latent-space)"
	}
	add("loss", "MFM-FT", "[mixture](#mixture-fine-tuning), [its target](#bias-and-variance-of-the-regression-target), "+
		"[digits](#digits-fine-tuning)"+pictures,
		fmt.Sprintf("%d trainings of the mixture", len(s.rows("finetuning_gmm.json", "method=mfm-ft"))))
	const methods = "[mixture](#mixture-steering-by-a-reward), [digits](#digits-steering-by-a-classifier), " +
		"[pictures](#pictures-steered-in-latent-space), [by divergence](#when-steering-pays)"
	for _, m := range []struct{ name, method, n string }{
		{"MFM-G", "mfm-g", "128"}, {"MFM-GF", "mfm-gf", "16"}, {"DPS", "dps", "1"}, {"Best-of-N", "best-of-n", "8"},
	} {
		rows := s.rows("gmm_steering.json", "method="+m.method, "dynamics=ode", "n="+m.n)
		add("method", m.name, methods, fmt.Sprintf("mixture, N = %s: sliced W₂ %s", m.n, within("%.3f", "sw2", rows)))
	}
	smc := s.rows("gmm_steering.json", "method=smc-mfm-gf", "n=16")
	add("method", "twisted SMC", "[mixture](#mixture-steering-by-a-reward), [digits](#digits-steering-by-a-classifier), "+
		"[by divergence](#when-steering-pays)", "mixture, twist MFM-GF, N = 16: sliced W₂ "+within("%.3f", "sw2", smc))
	add("method", "MFM-Search", "[digits](#digits-steering-by-a-classifier)", "digits: L₂ "+
		s.rows("mnist_steering.json", "method=search-greedy-renoise")[0].format("%.3f", "l2"))
	add("method", "value estimates by the map", "[mixture](#bias-of-the-value-estimate)",
		"of pictures see the experiment above")
	add("reward", "linear measurement", "[mixture](#mixture-steering-by-a-reward)", "as for the methods")
	add("reward", "probability of classes of digits", "[digits](#digits-steering-by-a-classifier)", "unsteered: L₂ "+
		s.rows("mnist_steering.json", "method=unsteered")[0].format("%.3f", "l2"))
	towers := fmt.Sprintf("not run; CLIP's networks, of which it is one, [equal their originals](#networks-against-their-originals) up "+
		"to %s", power(1, s.clipError()))
	for _, r := range s.paperGrid("imagenet_paper").Rewards {
		number := towers
		if r.Name == "ImageReward" {
			number = "not run; equal to its original to 1e-4 in a test of `mfm/reward/text`"
		}
		add("reward", r.Name, "pictures, with weights: command 1 above", number)
	}
	return table("part | name | measured | number", lines)
}

// shippedRewards names the rewards of steered pictures.
func (s *store) shippedRewards() string {
	var names []string
	for _, t := range s.pictureTilts() {
		if len(t.runs) > 0 {
			names = append(names, "*"+rewardCell(t.name)+"*")
		}
	}
	return enumerate(names)
}
