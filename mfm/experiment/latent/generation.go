package latent

import (
	"context"
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
)

// Generation is a way to sample pictures of given classes, from noise.
type Generation struct {
	Method   mfm.Sampling `json:"method"`
	Steps    int          `json:"steps"`
	Guidance float64      `json:"guidance"` // scale of classifier-free guidance; 1 means none
}

// DefaultGenerations are one and four steps of the map and a hundred of the ODE, and for a map with
// classes one, four and eight steps with guidance of the scales 2, 3 and 4.
func DefaultGenerations(classes int) []Generation {
	all := []Generation{{mfm.MapSampling, 1, 1}, {mfm.MapSampling, 4, 1}, {mfm.ODESampling, 100, 1}}
	for _, scale := range []float64{2, 3, 4} {
		for _, steps := range []int{1, 4, 8} {
			if classes > 0 {
				all = append(all, Generation{mfm.MapSampling, steps, scale})
			}
		}
	}
	return all
}

// GenerationResult compares generated pictures with the training pictures.
type GenerationResult struct {
	Generation
	NFE int `json:"nfe"` // evaluations of the network per picture
	picture.Result
}

// Compare generates one picture for each of the labels, or n of a map without classes, and compares
// them with the training pictures of r. Pictures of a map without classes have no accuracy.
func (g *Generator) Compare(ctx context.Context, r *picture.Reference, way Generation, seed int64, labels []int32,
	n int) (out GenerationResult, err error) {
	m, err := g.Guided(way.Guidance)
	if err != nil {
		return out, err
	}
	guided := g.With(m)
	sampling := mfm.DefaultSamplerConfig()
	sampling.Method, sampling.Grid.Steps = way.Method, way.Steps
	if g.Classes == 0 {
		labels = nil
	}
	rows := max(len(labels), 1)
	if labels != nil {
		n = 1
	}
	x := make([]float32, rows*g.Elements())
	pixels, err := guided.Posterior(ctx, sampling, seed, 0, x, n, labels)
	if err != nil {
		return out, fmt.Errorf("generating by %s in %d steps: %w", way.Method, way.Steps, err)
	}
	out.Generation, out.NFE = way, sampling.NFE()*guided.Map.NFE()
	out.Result, err = r.Compare(ctx, pixels, labels)
	return out, err
}
