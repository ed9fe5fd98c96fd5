package pretrained

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// timeFeatures is the number of sines and cosines of a time in a DiT.
const timeFeatures = 256

// DiTWeights returns the weights of [nn.DiT] for images of the given number of channels, in the
// names of the paper's released transformer (arXiv 2601.14430), which keeps those of DiT, SiT and
// Decoupled MeanFlow. The fixed positions, "pos_embed", are not among them: see [ImportDiT]. The
// list is for a map whose parametrization gives no combined observation, such as [mfm.Plain].
func DiTWeights(c nn.DiTConfig, channels int) []Weight {
	l := list{}
	l.patches("x_embedder", "state", c, channels)
	l.patches("x_cond_embedder", "context", c, channels)
	l.linear("x_cond_adaLN.1", "context_gate", c.Width, 2*c.Width)
	for _, time := range [][2]string{
		{"s_embedder", "encoder_s"}, {"t_embedder", "encoder_u"}, {"t_cond_embedder", "context_time"},
		{"s_embedder_second", "decoder_s"}, {"t_embedder_second", "decoder_u"},
	} {
		l.time(time[0], time[1], c.Width)
	}
	l.add("guidance_embedder.embedding_table.weight", "guidance/weights", Same, guidancePairs(c), c.Width)
	l.transformer(c, channels, channels)
	return l
}

// guidancePairs returns the number of pairs of guidance scales.
func guidancePairs(c nn.DiTConfig) int { return (len(c.Guidance) + 1) * (len(c.ContextGuidance) + 1) }

// patches adds the weights of an embedding of patches.
func (l *list) patches(file, path string, c nn.DiTConfig, channels int) {
	l.add(file+".proj.weight", path+"/weights", PatchEmbedding, c.Width, channels, c.Patch, c.Patch)
	l.add(file+".proj.bias", path+"/biases", Same, c.Width)
}

// time adds the weights of an embedding of a time.
func (l *list) time(file, path string, width int) {
	l.linear(file+".mlp.0", path+"/hidden", timeFeatures, width)
	l.linear(file+".mlp.2", path+"/output", width, width)
}

// transformer adds the weights of the classes, of the blocks, for images of the given number of
// channels, and of the output, which all originals share.
func (l *list) transformer(c nn.DiTConfig, channels, outputs int) {
	if c.Classes > 0 {
		l.add("y_embedder.embedding_table.weight", "class/weights", Same, c.Classes+1, c.Width)
	}
	for i := range c.Depth {
		file, path := fmt.Sprintf("blocks.%d.", i), fmt.Sprintf("block_%d/", i)
		attention, parts := file+"attn.", 6
		if c.JointAttention {
			attention, parts = file+"joint_attn.", 7
			l.patches(file+"x_cond_embedder", path+"context", c, channels)
			l.linear(attention+"kv_cond", path+"attention/context", c.Width, 2*c.Width)
		}
		l.linear(file+"adaLN_modulation.1", path+"modulation", c.Width, parts*c.Width)
		l.linear(attention+"qkv", path+"attention/qkv", c.Width, 3*c.Width)
		l.linear(attention+"proj", path+"attention/out", c.Width, c.Width)
		if c.QKNorm {
			l.headNorm(c, attention+"q_norm", path+"attention/q_norm")
			l.headNorm(c, attention+"k_norm", path+"attention/k_norm")
		}
		if c.QKNorm && c.JointAttention {
			l.headNorm(c, attention+"k_cond_norm", path+"attention/context_norm")
		}
		l.linear(file+"mlp.fc1", path+"hidden", c.Width, 4*c.Width)
		l.linear(file+"mlp.fc2", path+"output", 4*c.Width, c.Width)
	}
	l.linear("final_layer.adaLN_modulation.1", "output/modulation", c.Width, 2*c.Width)
	l.linear("final_layer.linear", "output/linear", c.Width, c.Patch*c.Patch*outputs)
}

// headNorm adds the weights of a norm of the queries or keys of each head.
func (l *list) headNorm(c nn.DiTConfig, file, path string) {
	if c.QKNormRMS {
		l.add(file+".scale", path+"/weights", Same, c.Width/c.Heads)
	} else {
		l.norm(file, path, c.Width/c.Heads)
	}
}

// list is a list of weights under construction.
type list []Weight

func (l *list) add(file, path string, layout Layout, shape ...int) {
	*l = append(*l, Weight{File: file, Path: path, Layout: layout, Shape: shape})
}

// linear adds the weights and biases of a linear layer.
func (l *list) linear(file, path string, in, out int) {
	l.add(file+".weight", path+"/weights", Linear, out, in)
	l.add(file+".bias", path+"/biases", Same, out)
}

// norm adds the gains and biases of a normalization.
func (l *list) norm(file, path string, width int) {
	l.add(file+".weight", path+"/weights", Same, width)
	l.add(file+".bias", path+"/biases", Same, width)
}

// convolution adds the weights and biases of a convolution.
func (l *list) convolution(file, path string, size, in, out int) {
	l.add(file+".weight", path+"/weights", Convolution, out, in, size, size)
	l.add(file+".bias", path+"/biases", Same, out)
}

// positionsTolerance is the largest difference of "pos_embed" from the fixed positions.
const positionsTolerance = 1e-5

// ImportDiT is [Import] for [nn.DiT]. It checks the fixed positions, "pos_embed" and those of
// blocks with joint attention, if the file has them, and leaves them out.
func ImportDiT(from checkpoint.Tensors, c nn.DiTConfig, channels int) (checkpoint.Tensors, error) {
	return importDiT(from, c, channels, false)
}

func importDiT(from checkpoint.Tensors, c nn.DiTConfig, channels int, move bool) (checkpoint.Tensors, error) {
	rest, err := withoutPositions(from, c.Width)
	if err != nil {
		return nil, err
	}
	return imported(rest, DiTWeights(c, channels), move)
}

// withoutPositions returns the tensors but "pos_embed", also of blocks with joint attention, which
// it checks.
func withoutPositions(from checkpoint.Tensors, width int) (checkpoint.Tensors, error) {
	rest := maps.Clone(from)
	for name, t := range from {
		if name != "pos_embed" && !(strings.HasPrefix(name, "blocks.") && strings.HasSuffix(name, ".pos_embed")) {
			continue
		}
		delete(rest, name)
		if err := checkPositions(t, width); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	return rest, nil
}

// checkPositions returns an error unless t has the fixed positions of a square grid.
func checkPositions(t *tensors.Tensor, width int) error {
	values, err := float32s(t)
	if err != nil {
		return err
	}
	side := int(math.Round(math.Sqrt(float64(len(values) / width))))
	if want := []int{1, side * side, width}; !slices.Equal(t.Shape().Dimensions, want) {
		return fmt.Errorf("it is %v, want [1, tokens, %d] of a square grid", t.Shape().Dimensions, width)
	}
	for i, p := range layer.SinusoidalPositions(side, side, width) {
		for j, want := range p {
			if got := values[i*width+j]; math.Abs(float64(got)-want) > positionsTolerance {
				return fmt.Errorf("token %d has %g, the sines and cosines of its position %g", i, got, want)
			}
		}
	}
	return nil
}
