package reward

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/preprocess"
)

// Original is a reward of pictures by a trained network that can also prepare a picture of 8 bits
// as the network's original does. Its Build prepares pictures in the graph, with a gradient and
// without rounding, for steering; a [Scorer] prepares them as the original, for evaluation. What
// the two forms differ by is in the documentation of packages text and classifier.
type Original interface {
	Reward
	// Side returns the side of prepared pictures in pixels.
	Side() int
	// Prepare returns an opaque picture of any size as the original prepares it, flat [Side, Side, 3].
	// Levels v of 8 bits have the value v/127.5-1.
	Prepare(picture *image.RGBA) []float32
	// BuildPrepared builds the reward, [n], of prepared pictures, float32 [n, Side, Side, 3], with the
	// weights and panics of Build.
	BuildPrepared(scope *model.Scope, prepared *Node) *Node
}

// scored is the number of pictures of a call of the graph; the last call is padded.
const scored = 16

// Scorer scores pictures of 8 bits as the originals of rewards do. It must not be used by several
// goroutines at once.
type Scorer struct {
	of   Original
	exec *model.Exec
}

// NewScorer prepares the graph of a reward of prepared pictures, with weights of its own store.
func NewScorer(b compute.Backend, of Original) (*Scorer, error) {
	exec, err := model.NewExec(b, model.NewStore(), func(root *model.Scope, x *Node) *Node {
		return of.BuildPrepared(root.Store().Scope(Scope), x)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the scorer: %w", err)
	}
	return &Scorer{of, exec}, nil
}

// Finalize frees the compiled graph.
func (s *Scorer) Finalize() { s.exec.Finalize() }

// Score returns the rewards of opaque pictures of any sizes, such as those of imagefile.Decode. It
// returns an error for a picture without pixels.
func (s *Scorer) Score(pictures ...*image.RGBA) ([]float64, error) {
	var scores []float64
	side := s.of.Side()
	for some := range slices.Chunk(pictures, scored) {
		batch := make([]float32, 0, scored*side*side*3)
		for _, picture := range some {
			if picture.Rect.Empty() {
				return nil, fmt.Errorf("picture %d has no pixels", len(scores)+len(batch)/(side*side*3))
			}
			batch = append(batch, s.of.Prepare(picture)...)
		}
		x := tensors.FromFlatDataAndDimensions(batch[:cap(batch)], scored, side, side, 3)
		out, err := s.exec.Call1(x)
		var values []float32
		if err == nil {
			values, err = tensors.CopyFlatData[float32](out)
		}
		if err != nil {
			return nil, fmt.Errorf("scoring pictures: %w", err)
		}
		for _, v := range values[:len(some)] {
			scores = append(scores, float64(v))
		}
	}
	return scores, nil
}

// Host returns the black-box reward of pictures [n, height, width, 3] in [-1, 1]: Score's of the
// pictures, clipped to this range and rounded to 8 bits by [preprocess.FromPixels]. A picture with
// pixels that are NaN has the reward NaN.
func (s *Scorer) Host() Host {
	return func(samples []float32, shape []int) ([]float64, error) {
		if len(shape) != 4 || shape[3] != 3 || min(shape[1], shape[2]) < 1 {
			return nil, fmt.Errorf("samples have the shape %v: want pictures [n, height, width, 3]", shape)
		}
		size := shape[1] * shape[2] * 3
		var pictures []*image.RGBA
		for pixels := range slices.Chunk(samples, size) {
			pictures = append(pictures, preprocess.FromPixels(pixels, shape[1], shape[2]))
		}
		scores, err := s.Score(pictures...)
		for i := range scores {
			if slices.ContainsFunc(samples[i*size:(i+1)*size], func(v float32) bool { return v != v }) {
				scores[i] = math.NaN()
			}
		}
		return scores, err
	}
}
