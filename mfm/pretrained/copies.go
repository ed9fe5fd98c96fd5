package pretrained

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// withoutDots is how some moving averages store a name: LitEma of latent diffusion.
func withoutDots(name string) string { return strings.ReplaceAll(name, ".", "") }

// Copies returns the copies of a network in a file, by their prefixes: "" or a name that ends in a
// dot. anchor is the name of a tensor that the network has, such as "x_embedder.proj.weight". A
// training's checkpoint often has several, such as "state_dict.model." and "ema.". In some moving
// averages, such as "model_ema.", names have lost their dots: here they have those of the other
// copies again.
func Copies(from checkpoint.Tensors, anchor string) map[string]checkpoint.Tensors {
	copies := make(map[string]checkpoint.Tensors)
	for full := range from {
		if prefix, ok := strings.CutSuffix(full, anchor); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			copies[prefix] = Below(from, prefix)
		}
	}
	short := withoutDots(anchor)
	for full := range from {
		prefix, ok := strings.CutSuffix(full, short)
		if !ok || short == anchor || !strings.Contains(prefix, ".") {
			continue
		}
		whole := make(checkpoint.Tensors)
		for name, t := range Below(from, prefix) {
			if name != "decay" && name != "num_updates" {
				whole[name] = t
			}
		}
		for _, original := range copies {
			for name := range original {
				if t := whole[withoutDots(name)]; t != nil {
					delete(whole, withoutDots(name))
					whole[name] = t
				}
			}
		}
		copies[prefix] = whole
	}
	for outer, whole := range copies { // the copy at the top has not those below it
		for inner := range copies {
			if rest, ok := strings.CutPrefix(inner, outer); ok && rest != "" {
				maps.DeleteFunc(whole, func(name string, _ *tensors.Tensor) bool { return strings.HasPrefix(name, rest) })
			}
		}
	}
	return copies
}

// Choose returns the one of [Copies] whose prefix has the given part between dots, such as "ema",
// "model_ema." or "state_dict.model", or if there is none, an underscore and the part before a dot. An
// empty part means the only copy. It is an error, which lists the prefixes, if none or several have
// the part; a prefix that equals the part goes first.
func Choose(from checkpoint.Tensors, anchor, part string) (chosen checkpoint.Tensors, prefix string, err error) {
	copies := Copies(from, anchor)
	var all, fitting, ending []string
	want := strings.Trim(part, ".")
	for name := range copies {
		all = append(all, fmt.Sprintf("%q", name))
		switch between := "." + strings.TrimSuffix(name, ".") + "."; {
		case part != "" && between == "."+want+".":
			return copies[name], name, nil
		case want == "" || strings.Contains(between, "."+want+"."):
			fitting = append(fitting, name)
		case strings.Contains(between, "_"+want+"."):
			ending = append(ending, name)
		}
	}
	slices.Sort(all)
	if len(fitting) == 0 {
		fitting = ending
	}
	switch {
	case len(all) == 0:
		return nil, "", fmt.Errorf("no tensor %q, alone or after a prefix: the file has no network of this kind", anchor)
	case len(fitting) == 1:
		return copies[fitting[0]], fitting[0], nil
	case want == "":
		return nil, "", fmt.Errorf("the network occurs with the prefixes %s: choose one", strings.Join(all, " and "))
	}
	return nil, "", fmt.Errorf("prefix %q is that of %d copies of the network, which has the prefixes %s: choose one of them",
		part, len(fitting), strings.Join(all, " and "))
}
