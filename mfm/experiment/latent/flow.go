package latent

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// TeacherConfig names a [Teacher] and says how its drift is guided.
type TeacherConfig struct {
	// Hash is that of the teacher.
	Hash string `json:"hash"`
	// Guidance is the scale of classifier-free guidance of the teacher's drift b_t, 1 for none, at
	// times t from From to To; see [mfm.Model.GuidedWithin].
	Guidance float64 `json:"guidance"`
	From     float64 `json:"from"`
	To       float64 `json:"to"`
}

// validate returns an error that names the first value that is invalid in itself, or for a map with
// a number of classes and its loss.
func (c TeacherConfig) validate(classes int, loss mfm.Loss) error {
	if _, err := (mfm.Model{Map: new(mfm.Map), Classes: classes}).GuidedWithin(c.Guidance, c.From, c.To); err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	g := loss.Guidance
	switch {
	case c.Hash == "":
		return fmt.Errorf("teacher: hash is missing: name the file or the run of the teacher")
	case loss.Distillation != mfm.Teacher:
		return fmt.Errorf("teacher: train.loss.distillation = %s does not use it: use teacher", loss.Distillation)
	case c.Guidance != 1 && (g.Mix > 0 || g.Scale != 0 && g.Scale != 1 || len(g.Scales) > 0):
		return fmt.Errorf("teacher.guidance = %g guides what train.loss.guidance with scale = %g, mix = %g and "+
			"scales = %v guides again: use one of them", c.Guidance, g.Scale, g.Mix, g.Scales)
	}
	return nil
}

// Teacher is a trained flow or map of latents, whose drift teaches a map instead of the closed
// form. Its weights are fixed.
type Teacher struct {
	// Hash identifies weights, network, parametrization and interpolant.
	Hash string
	// Guidance is the scale of the drift by default: 1, none, or the only one that the teacher has on
	// classes ([mfm.Model].ClassScale).
	Guidance float64

	path    string
	release string // whose name a file has; "" for none
	network nn.Network
	// Of a run: the names of its classes, if any, and the hash of its autoencoder, if it keeps one.
	classNames []string
	codec      string
	// The model of a file has neither map nor height and width: the file does not tell them.
	model       mfm.Model
	interpolant interpolant.Name
}

// OpenTeacher opens the map of a run or of a release in the folder path ([OpenModel]), or the
// transformer in the file path: one that [pretrained.Converted.Write] has written, or one in the
// names of a SiT, of Decoupled MeanFlow or of the paper, of which part chooses a copy
// ([pretrained.Choose]). It is an error if a file in those names does not tell the number of heads.
// A file names neither latents nor interpolant: they must be those of the map. Nor does a file in
// the names of an original say the direction of its time and the scales of its guidance: they are
// those of the release whose name the file has ([pretrained.Releases]), otherwise those that its
// tensors imply ([pretrained.DetectDiT]). Convert others with settings. A converted file does not
// say that a scale is the only one of rows with a class: name it as teacher.guidance.
func OpenTeacher(path, part string) (*Teacher, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	t := &Teacher{Guidance: 1, path: path}
	parametrization := mfm.Parametrization(mfm.Plain{})
	if info.IsDir() {
		var c Config
		if t.model, c, err = OpenModel(path); err != nil {
			return nil, err
		}
		if r, ok, err := Released(path); err == nil && ok {
			t.release = r.Name
		}
		t.network, t.interpolant, parametrization = c.Network, c.Interpolant, t.model.Map.Parametrization
		t.classNames = c.ClassNames
		if _, err := os.Stat(filepath.Join(path, exported)); err == nil {
			if t.codec, err = CodecHash(path); err != nil {
				return nil, err
			}
		}
		t.Guidance = cmp.Or(t.model.ClassScale, 1)
	} else if err := t.read(part); err != nil {
		return nil, err
	}
	t.Hash, err = run.Fingerprint(t.model.Store(), struct { // the fields' names are part of the hash
		Network         nn.Network
		Parametrization mfm.Parametrization
		Interpolant     interpolant.Name
	}{t.network, parametrization, t.interpolant})
	return t, err
}

// Assumed says which direction of time a transformer has that is no run, and why: no file tells it.
// It is empty for a run.
func (t *Teacher) Assumed() string {
	network, ok := t.network.Architecture.(nn.DiTConfig)
	if !ok || t.model.Map != nil && t.release == "" {
		return ""
	}
	text := "from noise at 0 to data at 1, reversed = false"
	if network.Reversed {
		text = "from data at 0 to noise at 1, reversed = true"
	}
	source := "by its tensors or by the settings of its conversion"
	if t.release != "" {
		source = "as released as " + t.release
	}
	return fmt.Sprintf("time %s, %s: if this is wrong, use what mfm weights convert --set reversed=%t writes", text, source,
		!network.Reversed)
}

// read reads a teacher in a file.
func (t *Teacher) read(part string) error {
	c, err := pretrained.OpenNetwork(t.path, pretrained.DiTKind, part, func(config any) error {
		for _, r := range pretrained.Releases() {
			if r.Kind != pretrained.DiTKind || r.File != filepath.Base(t.path) {
				continue
			}
			if err := configure(r, config); err != nil {
				return err
			}
			t.Guidance, t.release = cmp.Or(r.ClassScale, 1), r.Name
		}
		if network := config.(*nn.DiTConfig); network.Heads == 0 {
			return fmt.Errorf("the file does not tell the number of heads of a transformer of width %d and depth %d: "+
				"convert it with mfm weights convert --set heads=N", network.Width, network.Depth)
		}
		return nil
	})
	if err != nil {
		return err
	}
	network := c.Config.(nn.DiTConfig)
	network.Checkpoint = false // nothing is differentiated
	store := model.NewStore()
	t.network = nn.NewNetwork(network)
	t.model = mfm.Model{
		Weights: store.Scope(train.WeightsScope), Classes: network.Classes, Shape: []int{0, 0, c.Channels},
	}
	return train.SetWeights(store, c.Weights)
}

// CheckTeacher returns an error unless t is the teacher that c names, and has the classes and the
// interpolant of c. The names of the classes must be equal if both have some.
func (c Config) CheckTeacher(t *Teacher) error {
	switch classes := c.Network.ClassCount(); {
	case c.Teacher == nil || c.Teacher.Hash != t.Hash:
		return fmt.Errorf("teacher %s has the hash %s, the configuration names another one: use the same", t.path,
			t.Hash)
	case t.model.Classes != classes:
		return fmt.Errorf("teacher %s has %d classes, network.classes = %d: use the same, and the same labels", t.path,
			t.model.Classes, classes)
	case t.interpolant != "" && t.interpolant != c.Interpolant:
		return fmt.Errorf("teacher %s has the interpolant %s, the map %s: use the same", t.path, t.interpolant,
			c.Interpolant)
	case len(t.classNames) > 0 && len(c.ClassNames) > 0 && !slices.Equal(t.classNames, c.ClassNames):
		return fmt.Errorf("teacher %s has the classes %q, class_names = %q: use the same, in this order", t.path,
			t.classNames, c.ClassNames)
	}
	return nil
}

// CheckCodec returns an error if t is a run whose autoencoder has another [Codec].Hash. Of other
// teachers the autoencoder is not known.
func (t *Teacher) CheckCodec(hash string) error {
	if t.codec != "" && t.codec != hash {
		return fmt.Errorf("teacher %s has latents of another autoencoder: use that in its folder, %s", t.path,
			filepath.Join(t.path, exported))
	}
	return nil
}

// SetTeacher gives the experiment the teacher that its configuration names. The network of a file
// computes in the type of the map's. Errors are those of [Config.CheckTeacher], and one for a
// teacher of latents of another shape.
func (e *Experiment) SetTeacher(t *Teacher) error {
	if err := e.Config.CheckTeacher(t); err != nil {
		return err
	}
	m, network := t.model, t.network
	if m.Map == nil {
		network.Compute = e.Config.Network.Compute
		m.Shape = []int{e.Latents.Height, e.Latents.Width, m.Shape[2]}
		m.Map = &mfm.Map{Interpolant: e.Map.Interpolant, Backbone: network.Backbone(), Parametrization: mfm.Plain{}}
		if d, ok := network.Architecture.(nn.DiTConfig); ok {
			m.Scales = d.Guidance
		}
		if w := t.Guidance; w != 1 {
			var err error
			if m, err = m.GuidedOnly(w); err != nil {
				return err
			}
		}
	}
	err := network.CheckShape(e.Latents.Shape())
	if err == nil && !slices.Equal(m.Shape, e.Latents.Shape()) {
		err = fmt.Errorf("it is for latents of shape %v, these have %v: use those of the same autoencoder", m.Shape,
			e.Latents.Shape())
	}
	if err != nil {
		return fmt.Errorf("teacher %s: %w", t.path, err)
	}
	c := e.Config.Teacher
	if m, err = m.GuidedWithin(c.Guidance, c.From, c.To); err != nil {
		return err
	}
	weights, err := run.Weights(t.model.Store())
	if err != nil {
		return err
	}
	e.flow, err = mfm.Frozen(m.Map, "teacher", weights)
	return err
}

// InitialWeights returns the weights of a file as in [OpenTeacher], for [run.Options].InitWeights:
// those of [pretrained.SiTWeights] or [pretrained.ImportDiT]. With those of a SiT the diagonal of
// the map at t = 0 is the SiT's velocity, for any context. The parametrization must be
// [mfm.PlainName], and the network that of the file; what the file does not tell, such as Encoder
// ([pretrained.DetectDiT]), is that of c. Labels are those of the file's classes.
func (c Config) InitialWeights(path, part string) (map[string]*tensors.Tensor, error) {
	ours, ok := c.Network.Architecture.(nn.DiTConfig)
	if !ok || c.Parametrization != mfm.PlainName {
		return nil, fmt.Errorf("%w: %s: a map that starts from a file has a network of kind dit and "+
			"parametrization = %s, this one %s and %s", run.ErrInit, path, mfm.PlainName, c.Network.Kind(),
			c.Parametrization)
	}
	file, err := pretrained.OpenNetwork(path, pretrained.DiTKind, part, func(config any) error {
		to := config.(*nn.DiTConfig)
		found := *to
		*to = ours
		to.Patch, to.Width, to.Depth, to.Classes = found.Patch, found.Width, found.Depth, found.Classes
		to.QKNorm, to.QKNormRMS, to.JointAttention = found.QKNorm, found.QKNormRMS, found.JointAttention
		if found.Heads > 0 {
			to.Heads = found.Heads
		}
		to.Reversed, to.BlindAtZero = found.Reversed || ours.Reversed, found.BlindAtZero && ours.BlindAtZero
		to.Encoder = min(ours.Encoder, found.Depth)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", run.ErrInit, err)
	}
	theirs := file.Config.(nn.DiTConfig)
	theirs.Checkpoint = ours.Checkpoint // changes no number
	var others []string
	for i, a, b := 0, reflect.ValueOf(theirs), reflect.ValueOf(ours); i < a.NumField(); i++ {
		if value := fmt.Sprint(a.Field(i)); value != fmt.Sprint(b.Field(i)) {
			key, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			others = append(others, fmt.Sprintf("network.%s = %s", key, value))
		}
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("%w: %s has the transformer of %s, the map has others: use the same values", run.ErrInit,
			path, strings.Join(others, ", "))
	}
	return file.Weights, nil
}
