package latent

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
)

// Diagnose evaluates the map of the run in dir on latents of random held-out pictures, given their
// classes if the map has classes. There is no reference drift. Errors are those of [OpenGenerator],
// [Codec.Latents] and [diagnose.Map].
func Diagnose(ctx context.Context, b compute.Backend, dir string, heldOut Pictures, c diagnose.Config) (
	*diagnose.Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	g, err := OpenGenerator(b, dir)
	if err != nil {
		return nil, err
	}
	defer g.Finalize()
	images, err := heldOut.Random(ctx, c.Contexts)
	if err != nil {
		return nil, err
	}
	l, err := g.Codec.Latents(ctx, images)
	if err != nil {
		return nil, err
	}
	subject := diagnose.Subject{Model: g.Model, Data: l.Means()}
	if g.Classes > 0 {
		subject.Class = images.Labels
	}
	return diagnose.Map(ctx, b, subject, c)
}
