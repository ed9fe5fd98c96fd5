package latent_test

import (
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
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// A teacher in a file has the direction of time and the guidance of the release whose name the file
// has, as one in a folder does, unless its conversion says otherwise.
func TestTeacherInAFileOfARelease(t *testing.T) {
	network := nn.DiTConfig{
		Patch: 2, Width: 8, Depth: 21, Encoder: 20, Heads: 2, Classes: 2, QKNorm: true, Guidance: []float64{2.5},
	}
	rng, dir := rand.New(rand.NewPCG(1, 0)), t.TempDir()
	write := func(name string, list []pretrained.Weight) string {
		all := make(checkpoint.Tensors)
		for _, w := range list {
			size := 1
			for _, d := range w.Shape {
				size *= d
			}
			values := make([]float32, size)
			for i := range values {
				values[i] = float32(rng.NormFloat64()) / 4
			}
			all[w.File] = tensors.FromFlatDataAndDimensions(values, w.Shape...)
		}
		path := filepath.Join(dir, name)
		if err := checkpoint.WriteWeights(path, all, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flow, meta := pretrained.SiTWeights(network, 2, 2), pretrained.DiTWeights(network, 2)
	dmf := write("dmf_xl_2_256.pt", flow)
	raw, err := os.ReadFile(dmf)
	copied := filepath.Join(dir, "copy.pt")
	if err == nil {
		err = os.WriteFile(copied, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := pretrained.OpenNetwork(copied, pretrained.DiTKind, "", func(c any) error {
		c.(*nn.DiTConfig).Reversed = true
		return nil
	})
	other := filepath.Join(dir, "converted.safetensors")
	if err == nil {
		err = c.Write(other, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	teachers := make(map[string]*latent.Teacher)
	for _, tc := range []struct {
		path, assumed string
		guidance      float64
	}{
		{dmf, "reversed = true, as released as dmf-xl-2", 1},
		{copied, "reversed = false, by its tensors", 1},
		{other, "reversed = true, by its tensors or by the settings", 1},
		{write("mfm-xl2.pt", meta), "reversed = true, as released as mfm-xl-2", 2.5},
	} {
		teacher, err := latent.OpenTeacher(tc.path, "")
		if err != nil {
			t.Fatal(err)
		}
		if text := teacher.Assumed(); !strings.Contains(text, tc.assumed) || teacher.Guidance != tc.guidance {
			t.Errorf("%s: %s, guidance %g", tc.path, text, teacher.Guidance)
		}
		teachers[filepath.Base(tc.path)] = teacher
	}
	if teachers["copy.pt"].Hash == teachers["dmf_xl_2_256.pt"].Hash {
		t.Error("the direction of time is not a part of the hash")
	}
	config := smallConfig()
	config.Parametrization = mfm.PlainName
	config.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Teacher, config.Train.Steps)
	config.Train.Loss.Guidance = mfm.Guidance{Classes: 2, Dropout: 0.2}
	guided := teachers["mfm-xl2.pt"]
	var released *latent.Experiment
	for guidance, message := range map[float64]string{2.5: "", 1: "scale 2.5 alone"} {
		config.Teacher = &latent.TeacherConfig{Hash: guided.Hash, Guidance: guidance, To: 1}
		e, err := latent.New(config, flowLatents())
		if err != nil {
			t.Fatal(err)
		}
		err = e.SetTeacher(guided)
		if (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("guidance %g: error %v", guidance, err)
		}
		if err == nil {
			released = e
		}
	}

	// A converted file gets the scale as its input, too.
	c, err = pretrained.OpenNetwork(filepath.Join(dir, "mfm-xl2.pt"), pretrained.DiTKind, "", func(c any) error {
		n := c.(*nn.DiTConfig)
		n.Encoder, n.Reversed, n.BlindAtZero, n.Guidance = 20, true, false, []float64{2.5}
		return nil
	})
	path := filepath.Join(dir, "scaled.safetensors")
	if err == nil {
		err = c.Write(path, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := latent.OpenTeacher(path, "")
	if err != nil {
		t.Fatal(err)
	}
	config.Teacher = &latent.TeacherConfig{Hash: teacher.Hash, Guidance: 2.5, To: 1}
	e, err := latent.New(config, flowLatents())
	if err == nil {
		err = e.SetTeacher(teacher)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := experimenttest.NewPoints(12)
	ones := func(i int) []float64 { return slices.Repeat([]float64{1}, len(p.Xbar[i])) }
	var distances []float64 // from a common field, since a store has one teacher
	for _, e := range []*latent.Experiment{e, released} {
		distances = append(distances, p.Distance(t, pureGo(t), model.NewStore(), func(s, xbar, _, _, class *Node) *Node {
			return e.Teacher()(s, xbar, class)
		}, ones))
	}
	if !(math.Abs(distances[0]-distances[1]) < 1e-6*distances[1]) {
		t.Errorf("the drifts of a converted teacher and of the release have distances %v", distances)
	}
}
