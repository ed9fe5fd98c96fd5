package distance_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// A CLIP in a folder is known by the hash of its weights. A distance in its features is no FID,
// whatever the hash.
func TestCLIPNetwork(t *testing.T) {
	folder := filepath.Join("..", "..", "reward", "text", "testdata", "openclip")
	n, err := distance.OpenNetwork(backendtest.New(t), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Finalize()
	const file = "HPS_v2.1_compressed.pt"
	sum, err := data.FileSHA256(filepath.Join(folder, file))
	if err != nil || n.SHA256 != sum || n.File != file || n.Name() != distance.Frechet {
		t.Errorf("%s of %s, %s, SHA-256 %s, %v", n.Name(), n, n.File, n.SHA256, err)
	}
	if !strings.Contains(n.String(), "clip ") {
		t.Errorf("the network is %q", n)
	}
	inception := distance.Source{Network: picture.InceptionName, Weights: "6726825d"}
	other := distance.Source{Network: n.Network, Weights: "6726825d"}
	if inception.Name() != distance.FID || other.Name() != distance.Frechet {
		t.Errorf("names %q and %q", inception.Name(), other.Name())
	}
	if _, err := distance.OpenNetwork(backendtest.New(t), t.TempDir()); err == nil {
		t.Error("an empty folder is a network")
	}
}
