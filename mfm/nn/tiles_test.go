package nn_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

// Two tiles are the decoded parts of the latents, blended linearly over the eight rows of pixels
// that they share. The tiles of the autoencoder are those of diffusers: see the references of
// package pretrained.
func TestTinyAutoencoderTiles(t *testing.T) {
	a := nn.TinyAutoencoder{Images: 1, Latents: 2}
	tiled := a
	tiled.Tile = 64
	out := nntest.Run(t, nntest.NewStore(t, 1), func(scope *model.Scope, x []*Node) []*Node {
		first, second := SliceAxis(x[0], 1, AxisRange(0, 8)), SliceAxis(x[0], 1, AxisRange(7, 9))
		return []*Node{
			tiled.Decode(scope, x[0]), a.Decode(scope.ResetVisited(), first), a.Decode(scope.ResetVisited(), second),
		}
	}, nntest.Wave(dtypes.Float32, 0, 1, 9, 2, 2))
	const row = 16
	first, second := nntest.Flat(t, out[1]), nntest.Flat(t, out[2])
	want := slices.Clone(first[:56*row])
	for y := range 8 {
		for x := range row {
			share := float64(y) / 8
			want = append(want, (1-share)*first[(56+y)*row+x]+share*second[y*row+x])
		}
	}
	nntest.Near(t, "two tiles", nntest.Flat(t, out[0]), append(want, second[8*row:]...), 1e-5)
}

func TestTileErrors(t *testing.T) {
	a := nn.Autoencoder{AutoencoderConfig: nn.StableDiffusionAutoencoder(), Tile: 256}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	tiny := nn.FLUX2TinyAutoencoder()
	for a.Tile = range 33 {
		if err := a.Validate(); (err == nil) != (a.Tile%32 == 0) {
			t.Errorf("tile %d: %v", a.Tile, err)
		}
	}
	for _, tiny.Tile = range []int{-64, 32, 65} {
		if tiny.Validate() == nil {
			t.Errorf("tiles of %d pixels are valid", tiny.Tile)
		}
	}
}
