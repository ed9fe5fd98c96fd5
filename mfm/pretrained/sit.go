package pretrained

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
)

// SiTWeights returns the weights that a SiT (Ma et al., arXiv 2401.08740), or a flow map of
// Decoupled MeanFlow (arXiv 2510.24474), has in the names of its release, for images of the given
// number of channels. The output has as many or, in networks that were built to learn variances,
// twice as many channels.
//
// [Convert] makes the variables of a new [nn.DiT] of them, for a flow map with
// [nn.DiTConfig.Encoder] as its depth of the encoder. For a context at t = 0 the map is the
// original's: v_{s,u}(x̄; 0, .) is the flow map's average velocity, and v_{t,t} the velocity of the
// SiT.
//
// The original SiT's time runs from noise at 0 to data at 1 and its output is the velocity data -
// noise, as here: Reversed is false. That of Decoupled MeanFlow and of REPA runs from data at 0 to
// noise at 1, with the output noise - data: Reversed is true. The file does not say which it is,
// but it is an error with twice the channels as the output, which only the original has.
//
// Both originals have one embedding of times, which becomes that of s in the encoder and of u in
// the decoder. Those of u in the encoder, of s in the decoder and of t have its first layer, and
// zeros as the second. The context's embedding is that of the state behind a gate that is closed:
// zero with BlindAtZero, else shift 0 and scale -1, which closes it at all t. The embeddings of
// guidance scales are zero. Of an output with twice the channels the first half is the velocity.
// Tensors for training alone are left out: "projectors." of REPA and "logvar_linear." of Decoupled
// MeanFlow. The list of tensors is otherwise checked as by [Import]. A configuration with joint
// attention is an error.
func SiTWeights(c nn.DiTConfig, channels, outputs int) []Weight {
	l := list{}
	l.patches("x_embedder", "state", c, channels)
	l.time("t_embedder", "encoder_s", c.Width)
	l.transformer(c, channels, outputs)
	return l
}

// importSiT returns the variables of a new [nn.DiT] from the tensors of [SiTWeights]. It frees
// these.
func importSiT(from checkpoint.Tensors, c nn.DiTConfig, channels int) (checkpoint.Tensors, error) {
	if c.JointAttention {
		return nil, errors.New("joint_attention: the tensors are of a network without it: leave it out")
	}
	rest, err := withoutPositions(from, c.Width)
	if err != nil {
		return nil, err
	}
	for name := range rest {
		if isTrainingHead(name) {
			delete(rest, name)
		}
	}
	outputs := channels
	if b := rest["final_layer.linear.bias"]; b != nil && b.Size() == 2*c.Patch*c.Patch*channels {
		outputs *= 2
		if c.Reversed {
			return nil, errors.New("reversed = true: an output of twice the channels is that of a SiT, whose time is " +
				"not reversed: use false")
		}
	}
	to, err := imported(rest, SiTWeights(c, channels, outputs), true)
	if err != nil {
		return nil, err
	}
	if outputs > channels {
		for _, name := range []string{"output/linear/weights", "output/linear/biases"} {
			to[name] = firstChannels(to[name], channels, outputs)
		}
	}
	for _, time := range []string{"decoder_u", "encoder_u", "decoder_s", "context_time"} {
		for _, layer := range []string{"hidden", "output"} {
			for _, part := range []string{"/weights", "/biases"} {
				source := to["encoder_s/"+layer+part]
				if layer == "output" && time != "decoder_u" {
					to[time+"/"+layer+part] = tensors.FromShape(source.Shape())
				} else {
					to[time+"/"+layer+part] = copyOf(source)
				}
			}
		}
	}
	for _, part := range []string{"/weights", "/biases"} {
		to["context"+part] = copyOf(to["state"+part])
	}
	gate := make([]float32, 2*c.Width) // shift, scale
	if !c.BlindAtZero {
		for i := c.Width; i < len(gate); i++ {
			gate[i] = -1
		}
	}
	to["context_gate/weights"] = zeros(c.Width, 2*c.Width)
	to["context_gate/biases"] = tensors.FromFlatDataAndDimensions(gate, len(gate))
	to["guidance/weights"] = zeros(guidancePairs(c), c.Width)
	return to, nil
}

// isTrainingHead reports whether a tensor serves the training alone.
func isTrainingHead(name string) bool {
	return strings.HasPrefix(name, "projectors.") || strings.HasPrefix(name, "logvar_linear.")
}

func zeros(dims ...int) *tensors.Tensor {
	size := 1
	for _, n := range dims {
		size *= n
	}
	return tensors.FromFlatDataAndDimensions(make([]float32, size), dims...)
}

// firstChannels returns a copy of a tensor of float32 whose last axis has groups of a number of
// elements each, of which it keeps the first ones.
func firstChannels(t *tensors.Tensor, keep, of int) *tensors.Tensor {
	dims := slices.Clone(t.Shape().Dimensions)
	var kept []float32
	for group := range slices.Chunk(tensors.MustCopyFlatData[float32](t), of) {
		kept = append(kept, group[:keep]...)
	}
	dims[len(dims)-1] = dims[len(dims)-1] / of * keep
	return tensors.FromFlatDataAndDimensions(kept, dims...)
}

// DetectDiT returns the configuration of the transformer whose tensors these are, and the channels
// of its images: in the names of [DiTWeights] or of [SiTWeights]. Names and shapes give the width,
// the depth, the patch and the classes, whether and how queries and keys are normalized, and
// whether the attention is joint. The table of [nn.DiTSizes] gives Heads and Encoder for its widths
// and depths; for others Heads is zero, unless queries and keys are normalized, and Encoder two
// thirds of the depth. Nothing in a file tells Encoder, Reversed, BlindAtZero and the guidance
// scales: the first three are those of the releases.
func DetectDiT(from checkpoint.Tensors) (c nn.DiTConfig, channels int, err error) {
	patches := from[DiTAnchor]
	if patches == nil {
		return c, 0, fmt.Errorf("tensor %q is missing: this is not one of the transformers", DiTAnchor)
	}
	d := patches.Shape().Dimensions
	if len(d) != 4 || d[2] != d[3] || slices.Min(d) < 1 {
		return c, 0, fmt.Errorf("tensor %q is %v, want [width, channels, patch, patch]", DiTAnchor, d)
	}
	c.Width, c.Patch, channels = d[0], d[2], d[1]
	attention := "attn"
	if c.JointAttention = from["blocks.0.joint_attn.qkv.weight"] != nil; c.JointAttention {
		attention = "joint_attn"
	}
	for from[fmt.Sprintf("blocks.%d.%s.qkv.weight", c.Depth, attention)] != nil {
		c.Depth++
	}
	if c.Depth == 0 {
		return c, 0, errors.New(`tensor "blocks.0.attn.qkv.weight" is missing: this is not one of the transformers`)
	}
	if t := from["y_embedder.embedding_table.weight"]; t != nil && t.Rank() > 0 {
		c.Classes = t.Shape().Dimensions[0] - 1
	}
	var gains *tensors.Tensor
	if gains, c.QKNormRMS = queryNorm(from); gains != nil {
		c.QKNorm, c.Heads = true, c.Width/max(gains.Size(), 1)
	}
	c.Encoder = (2*c.Depth + 1) / 3
	for _, size := range nn.DiTSizes() {
		if size.Width == c.Width && size.Depth == c.Depth {
			c.Heads, c.Encoder = size.Heads, size.Encoder
		}
	}
	meta := IsDiT(from)
	c.BlindAtZero, c.Reversed = !meta, meta
	for name := range from {
		c.Reversed = c.Reversed || isTrainingHead(name)
	}
	return c, channels, nil
}

// queryNorm returns the gains of the norm of the first block's queries, or nil, and whether it is a
// root-mean-square norm.
func queryNorm(from checkpoint.Tensors) (gains *tensors.Tensor, rms bool) {
	for _, attention := range []string{"attn", "joint_attn"} {
		norm := "blocks.0." + attention + ".q_norm."
		if t := from[norm+"scale"]; t != nil {
			return t, true
		}
		if t := from[norm+"weight"]; t != nil {
			return t, false
		}
	}
	return nil, false
}

// DiTAnchor is a tensor that each transformer has, for [Copies] and [Choose].
const DiTAnchor = "x_embedder.proj.weight"

// IsDiT reports whether the tensors are in the names of [DiTWeights], and not in those of
// [SiTWeights]: whether they embed a context.
func IsDiT(from checkpoint.Tensors) bool { return from["x_cond_embedder.proj.weight"] != nil }

func copyOf(t *tensors.Tensor) *tensors.Tensor { return firstChannels(t, 1, 1) }
