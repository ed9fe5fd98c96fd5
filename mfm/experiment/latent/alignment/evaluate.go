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

// pictureRewards evaluates rewards of pictures.
type pictureRewards struct {
	exec  *model.Exec
	host  reward.Host // instead of the reward in the graph; nil means none
	shape []int
}

// newPictureRewards returns the evaluation of a reward, or of host if r is nil, and of a held-out
// reward. The weights of r are those of [OfLatents] with the given name.
func newPictureRewards(
	b compute.Backend, m *Model, r reward.Reward, host reward.Host, heldOut reward.Reward, name string,
) (*pictureRewards, error) {
	exec, err := model.NewExec(b, m.Store(), func(root *model.Scope, in []*Node) []*Node {
		x, scope := in[0], root.Store().Scope(reward.Scope)
		var c reward.Condition
		if m.Classes > 0 {
			c.Class = in[1]
		}
		second, _ := reward.Usable(heldOut.Build(scope.In("held_out_of_%s", name), x, c))
		if r == nil {
			return []*Node{second}
		}
		first, _ := reward.Usable(r.Build(scope.In("of_%s", name), x, c))
		return []*Node{second, first}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the rewards: %w", err)
	}
	return &pictureRewards{exec: exec, host: host, shape: m.Size()}, nil
}

// values returns the rewards of pictures, flat, that were generated under labels, one for each, or nil.
func (p *pictureRewards) values(ctx context.Context, pixels []float32, labels []int32) (v pictureValues, err error) {
	size := p.shape[0] * p.shape[1] * p.shape[2]
	for from := 0; from < len(pixels); from += chunk * size {
		if err := ctx.Err(); err != nil {
			return v, fmt.Errorf("evaluating pictures: %w", context.Cause(ctx))
		}
		batch, classes := make([]float32, chunk*size), make([]int32, chunk)
		n := copy(batch, pixels[from:]) / size
		in := []any{tensors.FromFlatDataAndDimensions(batch, append([]int{chunk}, p.shape...)...)}
		if labels != nil {
			copy(classes, labels[from/size:])
			in = append(in, classes)
		}
		out, err := p.exec.Call(in...)
		if err != nil {
			return v, fmt.Errorf("evaluating pictures: %w", err)
		}
		for i, to := range []*[]float64{&v.heldOut, &v.reward}[:len(out)] {
			flat, err := tensors.CopyFlatData[float32](out[i])
			if err != nil {
				return v, fmt.Errorf("evaluating pictures: %w", err)
			}
			for _, r := range flat[:n] {
				*to = append(*to, float64(r))
			}
		}
	}
	if p.host == nil {
		return v, nil
	}
	v.reward, err = p.host(pixels, append([]int{len(pixels) / size}, p.shape...))
	for i, r := range v.reward {
		if math.IsNaN(r) || math.IsInf(r, 0) {
			v.reward[i] = 10 * reward.Least
		}
	}
	return v, err
}
