package latent_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// pureGo returns the backend that compiles these small networks in no time.
func pureGo(t *testing.T) compute.Backend {
	t.Helper()
	b, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

// flowFile writes two copies of a SiT, "ema." with these tensors and "model." with others.
func flowFile(t *testing.T, ema checkpoint.Tensors) string {
	t.Helper()
	_, other := experimenttest.NewSiT(99)
	both := make(checkpoint.Tensors)
	for name := range ema {
		both["ema."+name], both["model."+name] = ema[name], other[name]
	}
	path := filepath.Join(t.TempDir(), "sit.safetensors")
	if err := checkpoint.WriteWeights(path, both, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// narrow returns the tensors of a SiT without the outputs that are not used.
func narrow(file checkpoint.Tensors) checkpoint.Tensors {
	file = maps.Clone(file)
	for _, name := range []string{"final_layer.linear.weight", "final_layer.linear.bias"} {
		dims := slices.Clone(file[name].Shape().Dimensions)
		row := file[name].Size() / dims[0]
		var kept []float32
		for group := range slices.Chunk(tensors.MustCopyFlatData[float32](file[name]), 4*row) {
			kept = append(kept, group[:2*row]...) // two of the four channels
		}
		dims[0] /= 2
		file[name] = tensors.FromFlatDataAndDimensions(kept, dims...)
	}
	return file
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
func flowConfig(s experimenttest.SiT) latent.Config {
	c := smallConfig()
	c.Parametrization, c.Network = mfm.PlainName, nn.NewNetwork(s.DiTConfig)
	c.Train.Steps, c.Train.Batch, c.Train.EMA = 120, 32, []float64{0.9}
	c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = 3e-2, 10
	c.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Teacher, c.Train.Steps)
	c.Train.Loss.Guidance = mfm.Guidance{Classes: 2, Dropout: 0.2}
	return c
}

// flowLatents are random latents of the SiT's shape.
func flowLatents() *latents.Set {
	l, rng := &latents.Set{N: 16, Height: 4, Width: 4, Channels: 2, Origin: "random"}, rand.New(rand.NewPCG(4, 0))
	for i := range 2 * l.N * experimenttest.SiTElements {
		l.Mean, l.Std = append(l.Mean, float32(rng.NormFloat64())), append(l.Std, 0.1)
		if i%(2*experimenttest.SiTElements) == 0 {
			l.Labels = append(l.Labels, int32(i/(2*experimenttest.SiTElements)%2))
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

// initialized returns a store with the initial weights of a file.
func initialized(t *testing.T, c latent.Config, path string) *model.Store {
	t.Helper()
	weights, err := c.InitialWeights(path, "ema")
	store := model.NewStore()
	if err == nil {
		err = train.SetWeights(store, weights)
	}
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// A map that starts from a SiT has its velocity on the diagonal at t = 0 for every class and none,
// for any context; one that starts from a flow of reversed time has minus that at 1-s. A run keeps
// the weights that it starts from.
func TestInitialWeights(t *testing.T) {
	s, file := experimenttest.NewSiT(1)
	path, p, b := flowFile(t, file), experimenttest.NewPoints(9), pureGo(t)
	reversed := flowConfig(s)
	network := s.DiTConfig
	network.Reversed, network.BlindAtZero = true, false
	reversed.Network = nn.NewNetwork(network)
	velocity := func(i int) []float64 { return s.Velocity(p.S[i], p.Xbar[i], p.Class[i]) }
	for name, tc := range map[string]struct {
		config latent.Config
		path   string
		want   func(i int) []float64
	}{
		"a copy in a file": {flowConfig(s), path, velocity},
		"a converted file": {flowConfig(s), converted(t, path, "ema"), velocity},
		"reversed time": {reversed, flowFile(t, narrow(file)), func(i int) []float64 {
			v := s.Velocity(1-p.S[i], p.Xbar[i], p.Class[i])
			for j := range v {
				v[j] *= -1
			}
			return v
		}},
	} {
		store := initialized(t, tc.config, tc.path)
		m := mfm.Map{Backbone: tc.config.Network.Backbone(), Parametrization: mfm.Plain{}}
		e := p.Distance(t, b, store, func(s, xbar, _, x, class *Node) *Node {
			in := nn.Inputs{S: s, U: s, T: ZerosLike(s), Xbar: xbar, X: x, Class: class}
			return m.Velocity(store.Scope(train.WeightsScope), in)
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
		_, err = e.Train(t.Context(), b, "", run.Options{Dir: out, Init: path, InitWeights: weights})
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
	s, file := experimenttest.NewSiT(1)
	path := flowFile(t, file)
	wide, gaussian, backward := flowConfig(s), flowConfig(s), flowConfig(s)
	network := s.DiTConfig
	network.Reversed = true
	backward.Network = nn.NewNetwork(network)
	network.Reversed = false
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
	const anchor = "x_embedder.proj.weight"
	lacking, noRun := flowFile(t, checkpoint.Tensors{anchor: file[anchor]}), t.TempDir()
	e := experiment(t, flowConfig(s), converted(t, path, "ema"), "", latent.TeacherConfig{Guidance: 1, To: 1})
	other, err := latent.OpenTeacher(converted(t, path, "model"), "")
	if err != nil {
		t.Fatal(err)
	}
	classes, self, twice, interval := e.Config, e.Config, e.Config, e.Config
	network.Width, network.QKNorm = 16, false
	classes.Network, classes.Teacher = nn.NewNetwork(network), &latent.TeacherConfig{Hash: other.Hash}
	self.Train.Loss.Distillation = mfm.Self
	twice.Train.Loss.Guidance.Mix, twice.Teacher = 0.5, &latent.TeacherConfig{Hash: "a", Guidance: 2, To: 1}
	interval.Teacher = &latent.TeacherConfig{Hash: "a", Guidance: 2, From: 0.5, To: 0.2}
	for message, err := range map[string]error{
		`"ema." and "model."`: initial(flowConfig(s), path, ""),
		"network.width = 16, network.classes = 2, network.qk_norm = false": initial(wide, path, "ema"),
		"network.blind_at_zero = true":                                     initial(wide, converted(t, path, "ema"), ""),
		"reversed = true: an output of twice the":                          initial(backward, path, "ema"),
		"this one dit and gaussian":                                        initial(gaussian, path, "ema"),
		`"blocks.0.attn.qkv.weight" is mis`:                                initial(flowConfig(s), lacking, "ema"),
		"--set heads=N":                                                    open(path, "ema"),
		"config.json":                                                      open(noRun, ""),
		"no such file":                                                     open(filepath.Join(noRun, "none"), ""),
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
// training moves the diagonal to the conditional drift of its teacher and resumes to the same bits,
// but not with another teacher. No checkpoint has the teacher's weights.
func TestTeacher(t *testing.T) {
	s, file := experimenttest.NewSiT(2)
	path, p, b := flowFile(t, file), experimenttest.NewPoints(12), pureGo(t)
	teacher := converted(t, path, "ema")
	distance := func(e *latent.Experiment, want func(i int) []float64) float64 {
		t.Helper()
		return p.Distance(t, b, model.NewStore(), func(s, xbar, _, _, class *Node) *Node {
			return e.Teacher()(s, xbar, class)
		}, want)
	}
	none := latent.TeacherConfig{Guidance: 1, To: 1}
	guided := experiment(t, flowConfig(s), teacher, "", latent.TeacherConfig{Guidance: 3, From: 0.3, To: 0.7})
	if e := distance(guided, func(i int) []float64 {
		v, without := s.Velocity(p.S[i], p.Xbar[i], p.Class[i]), s.Velocity(p.S[i], p.Xbar[i], 2)
		for j := range v {
			if p.S[i] >= 0.3 && p.S[i] < 0.7 {
				v[j] = without[j] + 3*(v[j]-without[j])
			}
		}
		return v
	}); !(e < 1e-5) {
		t.Errorf("the relative difference of a guided teacher is %.3g", e)
	}

	c := flowConfig(s)
	glass := func(i int) []float64 { return s.Conditional(p.S[i], p.T[i], p.Xbar[i], p.X[i], p.Class[i]) }
	diagonal := func(e *latent.Experiment, store *model.Store) float64 {
		t.Helper()
		return p.Distance(t, b, store, func(s, xbar, t, x, class *Node) *Node {
			in := nn.Inputs{S: s, U: s, T: t, Xbar: xbar, X: x, Class: class}
			return e.Map.Velocity(store.Scope(train.WeightsScope), in)
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
	before, after := diagonal(e, initialized(t, c, path)), diagonal(e, store)
	t.Logf("distance from the conditional drift: %.3f, then %.3f", before, after)
	if !(after < 0.85*before) {
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
	o := run.Options{Dir: filepath.Join(dir, "parts"), Init: path}
	if _, err := other.Train(t.Context(), b, "", o); !errors.Is(err, run.ErrOtherRun) {
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
	x := latent.States(make([]float32, 3*experimenttest.SiTElements), m.Shape)
	samples, err := mfm.Flat(sampler.Posterior(t.Context(), 1, 0, x, 2, []int32{0, 1, 2}))
	if err != nil || len(samples) != 6*experimenttest.SiTElements || run.CheckFinite(samples) != nil {
		t.Errorf("%d values of samples: %v, %v", len(samples), err, run.CheckFinite(samples))
	}
	ofRun := experiment(t, c, filepath.Join(dir, "whole"), "", none)
	if e := p.Distance(t, b, m.Store(), func(s, xbar, _, _, class *Node) *Node {
		return OnePlus(Sub(ofRun.Teacher()(s, xbar, class), m.Drift()(s, xbar, class)))
	}, func(int) []float64 { return slices.Repeat([]float64{1}, experimenttest.SiTElements) }); !(e < 1e-5) {
		t.Errorf("the drift of a run as the teacher differs by %.3g", e)
	}
}

// A flow teaches latents that are streamed, which have no closed form.
func TestTeacherOfStreamedLatents(t *testing.T) {
	b, images := pureGo(t), experimenttest.Pictures(20)
	codec, err := latent.OpenCodec(b, randomCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := codec.CachedFiles(t.Context(), t.TempDir(), files(t, folder(t, images), 0))
	if err != nil {
		t.Fatal(err)
	}
	s, file := experimenttest.NewSiT(1)
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
