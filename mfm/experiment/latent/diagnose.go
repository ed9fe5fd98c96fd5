package latent

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// Diagnose evaluates the map of the run in dir on c.Contexts random held-out pictures, or all of
// fewer, as [Generator.Diagnose] does. Errors are those of it, of [OpenGenerator] and of
// [Pictures.Random].
func Diagnose(ctx context.Context, b compute.Backend, dir string, heldOut Pictures, c diagnose.Config) (
	*diagnose.Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	images, err := heldOut.Random(ctx, c.Contexts)
	if err != nil {
		return nil, err
	}
	g, err := OpenGenerator(b, dir)
	if err != nil {
		return nil, err
	}
	defer g.Finalize()
	return g.Diagnose(ctx, images, c)
}

// Diagnose evaluates the map on the latents of held-out images, c.Contexts or all of fewer, given
// their classes if the map has classes. There is no reference drift. Of a map
// with guidance the samples are guided, too: they do not have the distribution of the images, and
// findings on their coverage may be those of the guidance. Errors are those of
// [Generator.CheckHeldOut] and [diagnose.Map].
func (g *Generator) Diagnose(ctx context.Context, images *data.Images, c diagnose.Config) (*diagnose.Report, error) {
	if err := g.CheckHeldOut(images); err != nil {
		return nil, err
	}
	latents, err := g.latents(ctx, images)
	if err != nil {
		return nil, err
	}
	subject := diagnose.Subject{Model: g.Model, Data: latents}
	if g.Classes > 0 {
		subject.Class = images.Labels
	}
	c.Contexts = min(c.Contexts, images.N)
	return diagnose.Map(ctx, g.backend, subject, c)
}

// LoadHeldOut loads the held-out pictures at a location. It returns an error unless they are those
// of the run with the manifest m.
func LoadHeldOut(ctx context.Context, m run.Manifest, l data.Location) (heldOut Pictures, err error) {
	if _, heldOut, err = Load(l); err != nil {
		return heldOut, err
	}
	hash, err := heldOut.Hash(ctx)
	if err != nil {
		return heldOut, err
	}
	return heldOut, m.CheckData(m.DataHash, hash)
}

// CheckHeldOut returns an error unless the map can be evaluated on images: at least two, of the
// size of its pictures, and for a map with classes with labels below their number.
func (g *Generator) CheckHeldOut(images *data.Images) error {
	size := g.Size()
	switch {
	case images.N < 2:
		return fmt.Errorf("%d held-out images to evaluate the map on: at least 2 are needed", images.N)
	case images.Height != size[0] || images.Width != size[1]:
		return fmt.Errorf("images of %dx%d pixels, the map is for %dx%d: give images of that size", images.Height, images.Width,
			size[0], size[1])
	case g.Classes > 0 && images.Labels == nil:
		return fmt.Errorf("the images have no labels, the map has %d classes: give images with labels", g.Classes)
	}
	for _, label := range images.Labels {
		if g.Classes > 0 && (label < 0 || int(label) >= g.Classes) {
			return fmt.Errorf("an image has the label %d, the map has %d classes: give images of its classes", label, g.Classes)
		}
	}
	return nil
}
