package experimenttest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// SiTElements is the number of elements of a latent of [SiT].
const SiTElements = 4 * 4 * 2

// SiT is a toy SiT (Ma et al., arXiv 2401.08740) of latents [4, 4, 2] with two classes, in float64
// and without the networks of package nn: the reference for those in its file.
type SiT struct {
	nn.DiTConfig
	file map[string][]float64
}

// NewSiT returns a SiT with random weights and its tensors in the names of the release, with
// outputs of the final layer that are not used.
func NewSiT(seed uint64) (s SiT, file checkpoint.Tensors) {
	s.DiTConfig = nn.DiTConfig{Patch: 2, Width: 16, Depth: 1, Encoder: 1, Heads: 2, Classes: 2, BlindAtZero: true}
	s.file, file = make(map[string][]float64), make(checkpoint.Tensors)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, w := range pretrained.SiTWeights(s.DiTConfig, 2, 4) {
		size, std := 1, 0.3
		for _, d := range w.Shape {
			size *= d
		}
		if len(w.Shape) > 1 && !strings.HasPrefix(w.File, "y_") {
			std = 1 / math.Sqrt(float64(size/w.Shape[0]))
		}
		flat := make([]float32, size)
		for i := range flat {
			flat[i] = float32(std * rng.NormFloat64())
			s.file[w.File] = append(s.file[w.File], float64(flat[i]))
		}
		file[w.File] = tensors.FromFlatDataAndDimensions(flat, w.Shape...)
	}
	return s, file
}

// linear is a layer of the file.
func (s SiT) linear(name string, x []float64) []float64 {
	y := append([]float64{}, s.file[name+".bias"]...)
	for i := range y {
		for j, v := range x {
			y[i] += s.file[name+".weight"][i*len(x)+j] * v
		}
	}
	return y
}

func silu(x []float64) (y []float64) {
	for _, v := range x {
		y = append(y, v/(1+math.Exp(-v)))
	}
	return y
}

// modulated normalizes a token and applies a shift and a scale.
func modulated(x, shift, scale []float64) (y []float64) {
	mean, variance, n := 0., 0., float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	for i, v := range x {
		y = append(y, (v-mean)/math.Sqrt(variance+1e-6)*(1+scale[i])+shift[i])
	}
	return y
}

// Velocity returns that at time t of a latent [4, 4, 2], flat, and of a class, 2 for none.
func (s SiT) Velocity(t float64, x []float64, class int) []float64 {
	const heads, tokens = 2, 4
	w := s.Width
	features := make([]float64, 256)
	for k := range 128 {
		features[128+k], features[k] = math.Sincos(t * math.Pow(10_000, -float64(k)/128))
	}
	c := s.linear("t_embedder.mlp.2", silu(s.linear("t_embedder.mlp.0", features)))
	for i := range c {
		c[i] += s.file["y_embedder.embedding_table.weight"][class*w+i]
	}
	c = silu(c)
	pixel := func(token, a, b int) int { return ((2*(token/2)+a)*4 + 2*(token%2) + b) * 2 }
	h := make([][]float64, tokens)
	for n := range h {
		var patch []float64 // [channels, 2, 2]
		for channel := range 2 {
			for k := range 4 {
				patch = append(patch, x[pixel(n, k/2, k%2)+channel])
			}
		}
		h[n] = s.linear("x_embedder.proj", patch)
		for k := range w / 4 {
			ω := math.Pow(10_000, -4*float64(k)/float64(w))
			for i, at := range []int{n % 2, n / 2} { // column, row
				sin, cos := math.Sincos(float64(at) * ω)
				h[n][2*i*w/4+k] += sin
				h[n][(2*i+1)*w/4+k] += cos
			}
		}
	}
	for i := range s.Depth {
		name := fmt.Sprintf("blocks.%d.", i)
		m := s.linear(name+"adaLN_modulation.1", c)
		part := func(k int) []float64 { return m[k*w : (k+1)*w] }
		qkv, attended := make([][]float64, tokens), make([][]float64, tokens)
		for n := range h {
			qkv[n], attended[n] = s.linear(name+"attn.qkv", modulated(h[n], part(0), part(1))), make([]float64, w)
		}
		for n := range h {
			for head := range heads {
				from, to, sum := head*w/heads, (head+1)*w/heads, 0.
				var e [tokens]float64
				for k := range h {
					dot := 0.
					for j := from; j < to; j++ {
						dot += qkv[n][j] * qkv[k][w+j]
					}
					e[k] = math.Exp(dot / math.Sqrt(float64(w)/heads))
					sum += e[k]
				}
				for k := range h {
					for j := from; j < to; j++ {
						attended[n][j] += e[k] / sum * qkv[k][2*w+j]
					}
				}
			}
		}
		for n := range h {
			for j, v := range s.linear(name+"attn.proj", attended[n]) {
				h[n][j] += part(2)[j] * v
			}
			hidden := s.linear(name+"mlp.fc1", modulated(h[n], part(3), part(4)))
			for j, v := range hidden {
				hidden[j] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
			}
			for j, v := range s.linear(name+"mlp.fc2", hidden) {
				h[n][j] += part(5)[j] * v
			}
		}
	}
	m, v := s.linear("final_layer.adaLN_modulation.1", c), make([]float64, SiTElements)
	for n := range h {
		out := s.linear("final_layer.linear", modulated(h[n], m[:w], m[w:])) // [2, 2, 4]
		for k := range 4 {
			copy(v[pixel(n, k/2, k%2):][:2], out[4*k:])
		}
	}
	return v
}

// Conditional returns the drift at time u < 1 and state x̄ of the flow to the posterior given the
// state x at time t < 1, for the linear interpolant: (D - x̄)/(1-u), with the SiT's denoiser D at
// the time and state that are as informative as both observations.
func (s SiT) Conditional(u, t float64, xbar, x []float64, class int) []float64 {
	precision := t*t/((1-t)*(1-t)) + u*u/((1-u)*(1-u))
	star, state := math.Sqrt(precision)/(1+math.Sqrt(precision)), make([]float64, len(x))
	for i := range state {
		state[i] = star * (t*x[i]/((1-t)*(1-t)) + u*xbar[i]/((1-u)*(1-u))) / precision
	}
	b := s.Velocity(star, state, class)
	for i := range b {
		b[i] = (state[i] + (1-star)*b[i] - xbar[i]) / (1 - u)
	}
	return b
}

// Points are times s and t in [0.1, 0.9], states x̄ and x of random latents at these times, and
// classes, in turn two and none.
type Points struct {
	S, T    []float64
	Xbar, X [][]float64
	Class   []int
}

// NewPoints returns n points.
func NewPoints(n int) (p Points) {
	rng := rand.New(rand.NewPCG(9, 0))
	for i := range n {
		s, t := float64(float32(0.1+0.8*rng.Float64())), float64(float32(0.1+0.8*rng.Float64()))
		xbar, x := make([]float64, SiTElements), make([]float64, SiTElements)
		for j := range x {
			z := rng.NormFloat64()
			xbar[j] = float64(float32((1-s)*rng.NormFloat64() + s*z))
			x[j] = float64(float32((1-t)*rng.NormFloat64() + t*z))
		}
		p.S, p.T, p.Class = append(p.S, s), append(p.T, t), append(p.Class, i%3)
		p.Xbar, p.X = append(p.Xbar, xbar), append(p.X, x)
	}
	return p
}

// Distance returns the root mean square of what build computes at the points less a reference,
// relative to that. build gets s, x̄, t, x and classes.
func (p Points) Distance(t *testing.T, b compute.Backend, store *model.Store,
	build func(s, xbar, t, x, class *Node) *Node, want func(i int) []float64) float64 {
	t.Helper()
	n := len(p.S)
	narrow := func(rows ...[]float64) (to []float32) {
		for _, v := range slices.Concat(rows...) {
			to = append(to, float32(v))
		}
		return to
	}
	states := func(rows [][]float64) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(narrow(rows...), n, 4, 4, 2)
	}
	var class []int32
	for _, c := range p.Class {
		class = append(class, int32(c))
	}
	exec, err := model.NewExec(b, store, func(_ *model.Scope, s, xbar, t, x, class *Node) *Node {
		return build(s, xbar, t, x, class)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	got, err := mfm.Flat(exec.Call1(narrow(p.S), states(p.Xbar), narrow(p.T), states(p.X), class))
	if err != nil {
		t.Fatal(err)
	}
	var difference, norm float64
	for i := range n {
		for j, v := range want(i) {
			d := float64(got[i*SiTElements+j]) - v
			difference, norm = difference+d*d, norm+v*v
		}
	}
	return math.Sqrt(difference / norm)
}
