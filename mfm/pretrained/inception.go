package pretrained

import (
	"fmt"
	"strings"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/inception"
)

// InceptionAnchor is the name of a tensor that the Inception network of pytorch-fid has.
const InceptionAnchor = "Conv2d_1a_3x3.conv.weight"

// InceptionWeights returns the weights of [inception.Network] in the names of pytorch-fid, whose
// file is pt_inception-2015-12-05-6726825d.pth. Its classifier and the counters of its batch norms
// are not among them: see [ImportInception].
func InceptionWeights(n inception.Network) []Weight {
	l := list{}
	for _, c := range n.Convolutions() {
		file, path := c.Name, c.Name
		if c.Block != "" {
			file, path = c.Block+"."+c.Name, c.Block+"/"+c.Name
		}
		l.add(file+".conv.weight", path+"/weights", Convolution, c.Out, c.In, c.Height, c.Width)
		l.batchNorm(file+".bn", path+"/norm", c.Out)
	}
	return l
}

// ImportInception is [Import] for [inception.Network]. It leaves out the classifier "fc" and the
// numbers of batches that each batch norm has seen, on which the features do not depend.
func ImportInception(from checkpoint.Tensors, n inception.Network) (checkpoint.Tensors, error) {
	rest := make(checkpoint.Tensors, len(from))
	for name, t := range from {
		if name != "fc.weight" && name != "fc.bias" && !strings.HasSuffix(name, ".num_batches_tracked") {
			rest[name] = t
		}
	}
	return Import(rest, InceptionWeights(n))
}

// OpenInception reads an Inception network from a file for [Open]. The shape of its first kernel
// tells [inception.Network.Divisor]. The weights have their paths below the network's scope. If the
// file has another network, the error says how it differs from the published one.
func OpenInception(path string) (inception.Network, checkpoint.Tensors, error) {
	tensors, _, err := Open(path)
	if err != nil {
		return inception.Network{}, nil, err
	}
	n := inceptionOf(tensors)
	weights, err := ImportInception(tensors, n)
	if err != nil {
		return inception.Network{}, nil, fmt.Errorf("%s: not an Inception network of pytorch-fid: %w", path, err)
	}
	return n, weights, nil
}

// inceptionOf returns the network whose first kernel has the shape of that of a file, or else the
// published one.
func inceptionOf(from checkpoint.Tensors) inception.Network {
	n := inception.Network{Divisor: 1}
	if first := from[InceptionAnchor]; first != nil && first.Shape().Rank() == 4 {
		other := inception.Network{Divisor: 32 / max(first.Shape().Dim(0), 1)}
		if other.Validate() == nil {
			n = other
		}
	}
	return n
}
