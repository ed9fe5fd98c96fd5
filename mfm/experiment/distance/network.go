package distance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// Network is a network whose features compare pictures. It must not be used by several goroutines
// at once.
type Network struct {
	*picture.Evaluator
	File   string // of its weights
	SHA256 string // of the file, in hex
}

// OpenNetwork opens the network in a file of weights, or CLIP's in a folder, see
// [picture.OpenEvaluator].
func OpenNetwork(b compute.Backend, path string) (*Network, error) {
	file, err := pretrained.CLIPFile(path)
	if err != nil {
		return nil, err
	}
	sum, err := data.FileSHA256(file)
	if err != nil {
		return nil, err
	}
	e, err := picture.OpenEvaluator(b, path)
	if err != nil {
		return nil, err
	}
	return &Network{e, filepath.Base(file), sum}, nil
}

func (n *Network) source() Source { return Source{n.Network, n.SHA256} }

// Name is [Source.Name].
func (n *Network) Name() string { return n.source().Name() }

// String returns what the features are from.
func (n *Network) String() string {
	return fmt.Sprintf("%s of %s, SHA-256 %.8s", n.Network, n.File, n.SHA256)
}

// Source is the network that features are from. The zero value means an unknown one.
type Source struct {
	Network string `json:"network"`
	Weights string `json:"weights"` // SHA-256 of their file, in hex
}

// ReadSource returns the network of the features in path, for [ReadFeatures]. Only a folder of an
// [Extraction] names it: that of a file is unknown. An error names the file.
func ReadSource(path string) (Source, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return Source{}, err
	}
	s, err := readSet(path)
	return s.Source, err
}

// Name returns [FID] if the network's features are those that define it: those of pytorch-fid's
// file pt_inception-2015-12-05-6726825d.pth, whose name ends in the first digits of its SHA-256.
// Otherwise it returns [Frechet].
func (s Source) Name() string {
	if s.Network == picture.InceptionName && strings.HasPrefix(s.Weights, "6726825d") {
		return FID
	}
	return Frechet
}

// String returns the network and the first digits of the SHA-256, or that the network is unknown.
func (s Source) String() string {
	if s == (Source{}) {
		return "an unknown network"
	}
	return fmt.Sprintf("%s, SHA-256 %.8s", s.Network, s.Weights)
}
