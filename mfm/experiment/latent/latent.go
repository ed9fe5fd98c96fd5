// Package latent is the experiment on latents of images, such as those of the paper's ImageNet
// experiment: an autoencoder maps images to latents, on which a map works.
package latent

import "github.com/gomfm/gomfm/data"

// Load returns images to train on and held-out images: those at a location, or [data.Emoji] if it is
// empty. See [data.Load].
func Load(l data.Location) (train, heldOut *data.Images, err error) {
	if l == (data.Location{}) {
		return data.Emoji()
	}
	return data.Load(l)
}
