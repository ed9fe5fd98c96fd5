package distance

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
)

// Network is a network whose features compare pictures. It must not be used by several goroutines at
// once.
type Network struct {
	*picture.Evaluator
	File   string // of its weights
	SHA256 string // of the file, in hex
}

// OpenNetwork opens the network in a file of weights, see [picture.OpenEvaluator].
func OpenNetwork(b compute.Backend, path string) (*Network, error) {
	sum, err := data.FileSHA256(path)
	if err != nil {
		return nil, err
	}
	e, err := picture.OpenEvaluator(b, path)
	if err != nil {
		return nil, err
	}
	return &Network{e, filepath.Base(path), sum}, nil
}

// Name returns [FID] if the network's features are those that define it: those of pytorch-fid's file
// pt_inception-2015-12-05-6726825d.pth, whose name ends in the first digits of its SHA-256.
// Otherwise it returns [Frechet].
func (n *Network) Name() string {
	if n.Network == picture.InceptionName && strings.HasPrefix(n.SHA256, "6726825d") {
		return FID
	}
	return Frechet
}

// String returns what the features are from.
func (n *Network) String() string {
	return fmt.Sprintf("%s of %s, SHA-256 %.8s", n.Network, n.File, n.SHA256)
}
