package alignment

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/reward"
)

// chunk is the number of pictures in a call of the graphs below; the last call is padded.
const chunk = 16

// decoder decodes latents of one shape.
type decoder struct {
	exec             *model.Exec
	shape            []int
	elements, pixels int // of a latent, of a picture
}

func newDecoder(b compute.Backend, m *Model) (*decoder, error) {
	decode := Decoder(m.autoencoder)
	exec, err := model.NewExec(b, m.Store(), func(root *model.Scope, z *Node) *Node {
		return decode(root.Store().Scope(reward.Scope).In("decoder"), z)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the decoder: %w", err)
	}
	size := m.Size()
	return &decoder{exec: exec, shape: m.Shape, elements: m.Elements(), pixels: size[0] * size[1] * size[2]}, nil
}

// Finalize frees the compiled graph.
func (d *decoder) Finalize() { d.exec.Finalize() }

// decode returns the pictures of latents, both flat.
func (d *decoder) decode(ctx context.Context, latents []float32) ([]float32, error) {
	var pixels []float32
	for from := 0; from < len(latents); from += chunk * d.elements {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("decoding: %w", context.Cause(ctx))
		}
		batch := make([]float32, chunk*d.elements)
		n := copy(batch, latents[from:]) / d.elements
		flat, err := mfm.Flat(d.exec.Call1(tensors.FromFlatDataAndDimensions(batch, append([]int{chunk}, d.shape...)...)))
		if err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
		pixels = append(pixels, flat[:n*d.pixels]...)
	}
	return pixels, nil
}

// pictureValues are rewards of pictures. One below [reward.Least] gives its picture no weight.
type pictureValues struct{ reward, heldOut []float64 }

// pictureReward is a reward of pictures: a graph with its weights, or a black box.
type pictureReward struct {
	text  string        // in canonical JSON
	graph reward.Reward // nil for a black box
	name  string        // of the graph for [OfLatents], a hash of the text
	exec  *model.Exec   // of the graph
	host  reward.Host   // nil for a graph
	// scorer is what a black box of [OriginalKind] scores by; nil for others.
	scorer *reward.Scorer
	shape  []int // of a picture
}

// open returns the reward of pictures that raw describes. The model keeps it for all steerings, so
// that weights are read once.
func (m *Model) open(b compute.Backend, raw []byte) (*pictureReward, error) {
	text, err := canonical(raw)
	if err != nil {
		return nil, err
	}
	if r := m.rewards[text]; r != nil {
		return r, nil
	}
	r := &pictureReward{text: text, shape: m.Size()}
	if isOriginal(raw) {
		if r.scorer, err = openOriginal(b, raw); err == nil {
			r.host = r.scorer.Host()
		}
	} else if reward.IsHost(raw) {
		r.host, err = reward.ParseHost(raw)
	} else if r.graph, err = ParseReward(b, raw); err == nil {
		err = r.compile(b, m)
	}
	if err != nil {
		return nil, err
	}
	m.rewards[text] = r
	return r, nil
}

// compile prepares the graph. Its weights are those of [OfLatents] with the reward's name.
func (r *pictureReward) compile(b compute.Backend, m *Model) (err error) {
	if r.name, err = hashJSON(r.text); err != nil {
		return err
	}
	r.exec, err = model.NewExec(b, m.Store(), func(root *model.Scope, in []*Node) *Node {
		var c reward.Condition
		if m.Classes > 0 {
			c.Class = in[1]
		}
		values, _ := reward.Usable(r.graph.Build(root.Store().Scope(reward.Scope).In("of_%s", r.name), in[0], c))
		return values
	})
	if err != nil {
		return fmt.Errorf("preparing the reward: %w", err)
	}
	return nil
}

// values returns the rewards of pictures, flat, that were generated under labels, one for each, or
// nil.
func (r *pictureReward) values(ctx context.Context, pixels []float32, labels []int32) (values []float64, err error) {
	size := r.shape[0] * r.shape[1] * r.shape[2]
	if r.host != nil {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluating pictures: %w", context.Cause(ctx))
		}
		values, err = r.host(pixels, append([]int{len(pixels) / size}, r.shape...))
		for i, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				values[i] = 10 * reward.Least
			}
		}
		return values, err
	}
	for from := 0; from < len(pixels); from += chunk * size {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluating pictures: %w", context.Cause(ctx))
		}
		batch, classes := make([]float32, chunk*size), make([]int32, chunk)
		n := copy(batch, pixels[from:]) / size
		in := []any{tensors.FromFlatDataAndDimensions(batch, append([]int{chunk}, r.shape...)...)}
		if labels != nil {
			copy(classes, labels[from/size:])
			in = append(in, classes)
		}
		flat, err := mfm.Flat(r.exec.Call1(in...))
		if err != nil {
			return nil, fmt.Errorf("evaluating pictures: %w", err)
		}
		for _, v := range flat[:n] {
			values = append(values, float64(v))
		}
	}
	return values, nil
}
