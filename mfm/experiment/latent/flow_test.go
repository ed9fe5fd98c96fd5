package latent_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// sit is a SiT of latents [4, 4, 2] with two classes, by the tensors of its file.
type sit struct {
	nn.DiTConfig
	file map[string][]float64
}

const sitElements = 4 * 4 * 2

// newSiT returns a SiT with random weights. Its final layer has outputs that are not used.
func newSiT(seed uint64) (s sit, file checkpoint.Tensors) {
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
func (s sit) linear(name string, x []float64) []float64 {
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

// velocity is that of the SiT in float64, as the paper defines it and without package nn, for a
// latent [4, 4, 2] and a class, 2 for none.
func (s sit) velocity(t float64, x []float64, class int) []float64 {
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
			for i, v := range []float64{math.Sin(float64(n%2) * ω), math.Cos(float64(n%2) * ω), math.Sin(float64(n/2) * ω),
				math.Cos(float64(n/2) * ω)} {
				h[n][i*w/4+k] += v
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
	m, v := s.linear("final_layer.adaLN_modulation.1", c), make([]float64, sitElements)
	for n := range h {
		out := s.linear("final_layer.linear", modulated(h[n], m[:w], m[w:])) // [2, 2, 4]
		for k := range 4 {
			copy(v[pixel(n, k/2, k%2):][:2], out[4*k:])
		}
	}
	return v
}

// glass is the drift of the posterior for the linear interpolant, from the SiT's denoiser at the time
// and state that are as informative as both observations.
func (s sit) glass(u, t float64, xbar, x []float64, class int) []float64 {
	precision := t*t/((1-t)*(1-t)) + u*u/((1-u)*(1-u))
	star, state := math.Sqrt(precision)/(1+math.Sqrt(precision)), make([]float64, len(x))
	for i := range state {
		state[i] = star * (t*x[i]/((1-t)*(1-t)) + u*xbar[i]/((1-u)*(1-u))) / precision
	}
	b := s.velocity(star, state, class)
	for i := range b {
		b[i] = (state[i] + (1-star)*b[i] - xbar[i]) / (1 - u)
	}
	return b
}

// points are times, states of random latents and classes, in turn two and none.
type points struct {
	s, t    []float64
	xbar, x [][]float64
	class   []int
}

func randomPoints(n int) (p points) {
	rng := rand.New(rand.NewPCG(9, 0))
	for i := range n {
		s, t := float64(float32(0.1+0.8*rng.Float64())), float64(float32(0.1+0.8*rng.Float64()))
		xbar, x := make([]float64, sitElements), make([]float64, sitElements)
		for j := range x {
			z := rng.NormFloat64()
			xbar[j] = float64(float32((1-s)*rng.NormFloat64() + s*z))
			x[j] = float64(float32((1-t)*rng.NormFloat64() + t*z))
		}
		p.s, p.t, p.xbar, p.x, p.class = append(p.s, s), append(p.t, t), append(p.xbar, xbar), append(p.x, x), append(p.class, i%3)
	}
	return p
}

// distance returns the root mean square difference of what build computes from a reference, relative
// to that. build gets s, x̄, t, x and classes.
func (p points) distance(t *testing.T, store *model.Store, build func(s, xbar, t, x, class *Node) *Node,
	want func(i int) []float64) float64 {
	t.Helper()
	flat := func(rows [][]float64) *tensors.Tensor {
		var values []float32
		for _, row := range rows {
			for _, v := range row {
				values = append(values, float32(v))
			}
		}
		return latent.States(values, []int{4, 4, 2})
	}
	narrow := func(v []float64) (n []float32) {
		for _, v := range v {
			n = append(n, float32(v))
		}
		return n
	}
	var class []int32
	for _, c := range p.class {
		class = append(class, int32(c))
	}
	exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, s, xbar, t, x, class *Node) *Node {
		return build(s, xbar, t, x, class)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	got, err := mfm.Flat(exec.Call1(narrow(p.s), flat(p.xbar), narrow(p.t), flat(p.x), class))
	if err != nil {
		t.Fatal(err)
	}
	var difference, norm float64
	for i := range p.s {
		for j, v := range want(i) {
			d := float64(got[i*sitElements+j]) - v
			difference, norm = difference+d*d, norm+v*v
		}
	}
	return math.Sqrt(difference / norm)
}

// flowFile writes two copies of a SiT, "ema." with these tensors and "model." with others.
func flowFile(t *testing.T, ema checkpoint.Tensors) string {
	t.Helper()
	_, other := newSiT(99)
	both := make(checkpoint.Tensors)
	for name := range ema {
		both["ema."+name], both["model."+name] = ema[name], other[name]
	}
	path := filepath.Join(t.TempDir(), "sit.safetensors")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(checkpoint.Write(f, both, nil), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// converted writes what weights convert makes of a file.
func converted(t *testing.T, path, part string) string {
	t.Helper()
	c, err := pretrained.OpenNetwork(path, pretrained.DiTKind, part, func(c any) error {
		c.(*nn.DiTConfig).Heads = 2
		return nil
	})
	to := filepath.Join(t.TempDir(), part+".safetensors")
	if err == nil {
		err = c.Write(to, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// flowConfig is a map with the network of a SiT, which it distills by the semigroup loss.
func flowConfig(s sit) latent.Config {
	c := smallConfig()
	c.Parametrization, c.Network = mfm.PlainName, nn.NewNetwork(s.DiTConfig)
	c.Train.Steps, c.Train.Batch, c.Train.EMA = 120, 32, []float64{0.9}
	c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = 3e-2, 10
	c.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Teacher, c.Train.Steps)
	c.Train.Loss.Guidance = mfm.Guidance{Classes: 2, Dropout: 0.2}
	return c
}

// flowLatents are random latents of the SiT's shape.
func flowLatents() *latent.Latents {
	l, rng := &latent.Latents{N: 16, Height: 4, Width: 4, Channels: 2, Origin: "random"}, rand.New(rand.NewPCG(4, 0))
	for i := range 2 * l.N * sitElements {
		l.Mean, l.Std = append(l.Mean, float32(rng.NormFloat64())), append(l.Std, 0.1)
		if i%(2*sitElements) == 0 {
			l.Labels = append(l.Labels, int32(i/(2*sitElements)%2))
		}
	}
	return l
}

// experiment returns that of a configuration with a teacher of a path.
func experiment(t *testing.T, c latent.Config, teacher, part string, guidance latent.TeacherConfig) *latent.Experiment {
	t.Helper()
	flow, err := latent.OpenTeacher(teacher, part)
	if err != nil {
		t.Fatal(err)
	}
	guidance.Hash = flow.Hash
	c.Teacher = &guidance
	e, err := latent.New(c, flowLatents())
	if err == nil {
		err = e.SetTeacher(flow)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A map that starts from a SiT has its velocity on the diagonal at t = 0 for every class and none, for
// any context; one that starts from a flow of reversed time has minus that at 1-s. A run keeps the
// weights that it starts from.
func TestInitialWeights(t *testing.T) {
	s, file := newSiT(1)
	path, p := flowFile(t, file), randomPoints(9)
	reversed := flowConfig(s)
	network := s.DiTConfig
	network.Reversed, network.BlindAtZero = true, false
	reversed.Network = nn.NewNetwork(network)
	for name, tc := range map[string]struct {
		config latent.Config
		path   string
		want   func(i int) []float64
	}{
		"a copy in a file": {flowConfig(s), path, func(i int) []float64 { return s.velocity(p.s[i], p.xbar[i], p.class[i]) }},
		"a converted file": {flowConfig(s), converted(t, path, "ema"), func(i int) []float64 {
			return s.velocity(p.s[i], p.xbar[i], p.class[i])
		}},
		"reversed time": {reversed, path, func(i int) []float64 {
			v := s.velocity(1-p.s[i], p.xbar[i], p.class[i])
			for j := range v {
				v[j] *= -1
			}
			return v
		}},
	} {
		weights, err := tc.config.InitialWeights(tc.path, "ema")
		if err != nil {
			t.Fatal(err)
		}
		store := model.NewStore()
		if err := train.SetWeights(store, weights); err != nil {
			t.Fatal(err)
		}
		m := mfm.Map{Backbone: tc.config.Network.Backbone(), Parametrization: mfm.Plain{}}
		e := p.distance(t, store, func(s, xbar, _, x, class *Node) *Node {
			return m.Velocity(store.Scope(train.WeightsScope), nn.Inputs{S: s, U: s, T: ZerosLike(s), Xbar: xbar, X: x, Class: class})
		}, tc.want)
		t.Logf("%s: %.2g", name, e)
		if !(e < 1e-5) {
			t.Errorf("%s: the relative difference from the velocity is %.3g", name, e)
		}
	}

	c, out := flowConfig(s), filepath.Join(t.TempDir(), "run")
	c.Train.Loss.Distillation, c.Train.Optimizer.Rate, c.Train.Steps, c.Train.EMA = mfm.Self, 1e-30, 1, nil
	e, err := latent.New(c, flowLatents())
	if err != nil {
		t.Fatal(err)
	}
	weights, err := c.InitialWeights(path, "ema")
	if err == nil {
		_, err = e.Train(t.Context(), backendtest.New(t), "", run.Options{Dir: out, Init: path, InitWeights: weights})
	}
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := latent.OpenModel(out)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := run.Weights(m.Store())
	if err == nil {
		weights, err = c.InitialWeights(path, "ema")
	}
	if err != nil || len(kept) != len(weights) {
		t.Fatalf("%d weights, want %d: %v", len(kept), len(weights), err)
	}
	for name, w := range weights {
		if !kept[name].InDelta(w, 1e-20) {
			t.Errorf("%s is not the initial one", name)
		}
	}
}

// Weights that do not fit are errors that name what differs.
func TestFlowErrors(t *testing.T) {
	s, file := newSiT(1)
	path := flowFile(t, file)
	wide, gaussian := flowConfig(s), flowConfig(s)
	network := s.DiTConfig
	network.Width, network.QKNorm, network.Classes, network.BlindAtZero = 32, true, 3, false
	wide.Network, gaussian.Parametrization = nn.NewNetwork(network), mfm.GaussianName
	initial := func(c latent.Config, path, part string) error {
		_, err := c.InitialWeights(path, part)
		return err
	}
	open := func(path, part string) error {
		_, err := latent.OpenTeacher(path, part)
		return err
	}
	lacking, noDiT := flowFile(t, map[string]*tensors.Tensor{"x_embedder.proj.weight": file["x_embedder.proj.weight"]}), t.TempDir()
	e := experiment(t, flowConfig(s), converted(t, path, "ema"), "", latent.TeacherConfig{Guidance: 1, To: 1})
	other, err := latent.OpenTeacher(converted(t, path, "model"), "")
	if err != nil {
		t.Fatal(err)
	}
	classes, self, twice, interval := e.Config, e.Config, e.Config, e.Config
	network.Width, network.QKNorm = 16, false
	classes.Network, classes.Train.Loss.Guidance.Classes, classes.Teacher = nn.NewNetwork(network), 3, &latent.TeacherConfig{Hash: other.Hash}
	self.Train.Loss.Distillation = mfm.Self
	twice.Train.Loss.Guidance.Mix, twice.Teacher = 0.5, &latent.TeacherConfig{Hash: "a", Guidance: 2, To: 1}
	interval.Teacher = &latent.TeacherConfig{Hash: "a", Guidance: 2, From: 0.5, To: 0.2}
	for message, err := range map[string]error{
		`"ema." and "model."`: initial(flowConfig(s), path, ""),
		"network.width = 16, network.classes = 2, network.qk_norm = false": initial(wide, path, "ema"),
		"network.blind_at_zero = true":                                     initial(wide, converted(t, path, "ema"), ""),
		"this one dit and gaussian":                                        initial(gaussian, path, "ema"),
		`"blocks.0.attn.qkv.weight" is mis`:                                initial(flowConfig(s), lacking, "ema"),
		"--set heads=N":                                                    open(path, "ema"),
		"config.json":                                                      open(noDiT, ""),
		"no such file":                                                     open(filepath.Join(noDiT, "none"), ""),
		"the configuration names another one":                              e.SetTeacher(other),
		"has 2 classes, network.classes = 3":                               classes.CheckTeacher(other),
		"distillation = self does not use it":                              self.Validate(),
		"mix = 0.5 and scales = [] guides aga":                             twice.Validate(),
		"guidance from time 0.5 to 0.2":                                    interval.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %s", err, message)
		}
	}
}

// The drift of a teacher is the SiT's, guided within its interval, or that of the map of a run. A
// training moves the diagonal to the conditional drift of its teacher, resumes to the same bits, and
// not with another teacher, whose weights no checkpoint has.
func TestTeacher(t *testing.T) {
	s, file := newSiT(2)
	path, p, b := flowFile(t, file), randomPoints(12), backendtest.New(t)
	teacher := converted(t, path, "ema")
	distance := func(e *latent.Experiment, want func(i int) []float64) float64 {
		t.Helper()
		return p.distance(t, model.NewStore(), func(s, xbar, _, _, class *Node) *Node { return e.Teacher()(s, xbar, class) }, want)
	}
	none := latent.TeacherConfig{Guidance: 1, To: 1}
	guided := experiment(t, flowConfig(s), teacher, "", latent.TeacherConfig{Guidance: 3, From: 0.3, To: 0.7})
	if e := distance(guided, func(i int) []float64 {
		v, without := s.velocity(p.s[i], p.xbar[i], p.class[i]), s.velocity(p.s[i], p.xbar[i], 2)
		for j := range v {
			if p.s[i] >= 0.3 && p.s[i] < 0.7 {
				v[j] = without[j] + 3*(v[j]-without[j])
			}
		}
		return v
	}); !(e < 1e-5) {
		t.Errorf("the relative difference of a guided teacher is %.3g", e)
	}

	c := flowConfig(s)
	glass := func(i int) []float64 { return s.glass(p.s[i], p.t[i], p.xbar[i], p.x[i], p.class[i]) }
	diagonal := func(e *latent.Experiment, store *model.Store) float64 {
		t.Helper()
		return p.distance(t, store, func(s, xbar, t, x, class *Node) *Node {
			return e.Map.Velocity(store.Scope(train.WeightsScope), nn.Inputs{S: s, U: s, T: t, Xbar: xbar, X: x, Class: class})
		}, glass)
	}
	dir := t.TempDir()
	trained := func(name string, stopAt int64) (*latent.Experiment, *model.Store, error) {
		e := experiment(t, c, teacher, "", none)
		weights, err := c.InitialWeights(path, "ema")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hook := train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
			if m.Step == stopAt {
				cancel()
			}
			return nil
		}}
		store, err := e.Train(ctx, b, "", run.Options{Dir: filepath.Join(dir, name), Init: path, InitWeights: weights,
			Hooks: []train.Hook{hook}})
		return e, store, err
	}
	e, store, err := trained("whole", 0)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := c.InitialWeights(path, "ema")
	if err != nil {
		t.Fatal(err)
	}
	start := model.NewStore()
	if err := train.SetWeights(start, weights); err != nil {
		t.Fatal(err)
	}
	before, after := diagonal(e, start), diagonal(e, store)
	t.Logf("distance from the conditional drift: %.3f, then %.3f", before, after)
	if !(after < 0.75*before) {
		t.Errorf("training moves the diagonal from %.3f to %.3f of the teacher's conditional drift", before, after)
	}
	state, _, err := checkpoint.Latest(filepath.Join(dir, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range state.Tensors {
		if strings.HasPrefix(name, train.DataScope) {
			t.Errorf("a checkpoint has %s of the teacher", name)
		}
	}

	if _, _, err := trained("parts", 30); err == nil {
		t.Fatal("the training did not stop")
	}
	if _, _, err := trained("parts", 0); err != nil {
		t.Fatal(err)
	}
	var files [2]string
	for i, name := range []string{"whole", "parts"} {
		raw, err := os.ReadFile(filepath.Join(dir, name, "weights.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(raw)
	}
	if files[0] != files[1] {
		t.Error("a training that was stopped and resumed ends with other weights")
	}
	other := experiment(t, c, converted(t, path, "model"), "", none)
	if _, err := other.Train(t.Context(), b, "", run.Options{Dir: filepath.Join(dir, "parts"), Init: path}); !errors.Is(err, run.ErrOtherRun) {
		t.Errorf("resumed with another teacher: %v", err)
	}

	m, _, err := latent.OpenModel(filepath.Join(dir, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	sampler, err := mfm.NewSampler(b, m, mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	samples, err := mfm.Flat(sampler.Posterior(t.Context(), 1, 0, latent.States(make([]float32, 3*sitElements), m.Shape), 2, []int32{0, 1, 2}))
	if err != nil || len(samples) != 6*sitElements || run.CheckFinite(samples) != nil {
		t.Errorf("%d values of samples: %v, %v", len(samples), err, run.CheckFinite(samples))
	}
	ofRun := experiment(t, c, filepath.Join(dir, "whole"), "", none)
	if e := p.distance(t, m.Store(), func(s, xbar, _, _, class *Node) *Node {
		return OnePlus(Sub(ofRun.Teacher()(s, xbar, class), m.Drift()(s, xbar, class)))
	}, func(int) []float64 { return slices.Repeat([]float64{1}, sitElements) }); e != 0 {
		t.Errorf("the drift of a run as the teacher differs by %.3g", e)
	}
}

// A flow teaches latents that are streamed, which have no closed form.
func TestTeacherOfStreamedLatents(t *testing.T) {
	if testing.Short() {
		t.Skip("runs networks of convolutions, which takes long without XLA")
	}
	b, images := backendtest.New(t), pictures(20)
	codec, err := latent.OpenCodec(b, randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := codec.CachedFiles(t.Context(), t.TempDir(), files(t, folder(t, images), 0))
	if err != nil {
		t.Fatal(err)
	}
	s, file := newSiT(1)
	c := flowConfig(s)
	c.Memory, c.Train.Steps, c.Train.Loss = 1, 2, mfm.Recipe(mfm.Eulerian, mfm.Teacher, 2)
	c.Train.Loss.Guidance.Classes = 2
	if _, err := latent.New(c, l); err == nil || !strings.Contains(err.Error(), "a trained flow as the teacher") {
		t.Errorf("a closed form of streamed latents: %v", err)
	}
	flow, err := latent.OpenTeacher(converted(t, flowFile(t, file), "ema"), "")
	if err != nil {
		t.Fatal(err)
	}
	c.Teacher = &latent.TeacherConfig{Hash: flow.Hash, Guidance: 1, To: 1}
	e, err := latent.New(c, l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, "", run.Options{}); err == nil {
		t.Error("a training without its teacher")
	}
	if err := e.SetTeacher(flow); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, "", run.Options{}); err != nil {
		t.Error(err)
	}
}
