package latent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// releasedSide is the side of the latents of released transformers, which are for ImageNet at
// 256x256 pixels.
const releasedSide = 32

// Released returns the release whose transformer lies in a folder under its official name, such as
// mfm-xl2.pt, and whether there is one. It is false for the folder of a run. Several transformers
// in one folder are an error.
func Released(dir string) (r pretrained.Release, ok bool, err error) {
	if _, err := run.ReadManifest(dir); err == nil {
		return r, false, nil
	}
	for _, other := range pretrained.Releases() {
		if _, err := os.Stat(filepath.Join(dir, other.File)); err != nil || other.Kind != pretrained.DiTKind {
			continue
		}
		if ok {
			return r, false, fmt.Errorf("%s has both %s and %s: keep each transformer in a folder of its own", dir, r.File,
				other.File)
		}
		r, ok = other, true
	}
	return r, ok, nil
}

// openReleased opens the transformer of a release in a folder, the copy "ema" of several. Its map
// has no parametrization, and it computes in float32. That of a release with ClassScale has its
// guidance ([mfm.Model.GuidedOnly]).
func openReleased(dir string, r pretrained.Release) (mfm.Model, Config, error) {
	path := filepath.Join(dir, r.File)
	from, _, err := pretrained.Open(path)
	if err != nil {
		return mfm.Model{}, Config{}, err
	}
	part := ""
	if len(pretrained.Copies(from, pretrained.DiTAnchor)) > 1 {
		part = "ema"
	}
	converted, err := pretrained.Convert(from, r.Kind, part, func(network any) error { return configure(r, network) })
	if err != nil {
		return mfm.Model{}, Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c := ImageNetConfig("XL/2")
	network := converted.Config.(nn.DiTConfig)
	c.Network = nn.NewNetwork(network)
	c.Train.Loss.Guidance.Classes, c.Train.Loss.Guidance.Scales = network.Classes, network.Guidance
	s := latents.Statistics{Shape: []int{releasedSide, releasedSide, converted.Channels}}
	m, err := newMap(c, s)
	if err != nil {
		return mfm.Model{}, c, err
	}
	store := model.NewStore()
	if err := train.SetWeights(store, converted.Weights); err != nil {
		return mfm.Model{}, c, err
	}
	opened := modelOf(c, m, s, store)
	if r.ClassScale != 0 {
		opened, err = opened.GuidedOnly(r.ClassScale)
	}
	return opened, c, err
}

// configure applies the settings of a release to the configuration of its network, a pointer.
func configure(r pretrained.Release, network any) error {
	for _, s := range r.Settings {
		name, value, _ := strings.Cut(s, "=")
		if err := config.Set(network, name, value); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return nil
}
