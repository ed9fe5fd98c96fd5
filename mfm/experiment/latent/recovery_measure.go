package latent

import "github.com/gomfm/gomfm/mfm/metric"

// RecoveryMeasure is a number of recovered pictures, as figures show it.
type RecoveryMeasure struct {
	Name string
	// Of returns the number of what a sampler recovers, undefined if it was not measured, and its
	// standard error, undefined for distances of pairs.
	Of func(w Recovered) (v, se metric.Optional)
	// Floor returns the number of the held-out pictures themselves, or of their reconstructions by the
	// autoencoder, with its standard error; both undefined without a floor.
	Floor func(r RecoveryResult) (v, se metric.Optional)
}

// RecoveryMeasures are the distances from the original pictures, in latents, pixels and features,
// those in pixels and features from the samples of the ODE from the same noise, and the kernel
// distance from the training pictures in features.
func RecoveryMeasures() []RecoveryMeasure {
	none := metric.Optional{}
	pixels := func(d *Distances) metric.Optional {
		if d == nil {
			return none
		}
		return metric.Some(d.Pixels)
	}
	features := func(d *Distances) metric.Optional {
		if d == nil || d.Features == nil {
			return none
		}
		return metric.Some(*d.Features)
	}
	from := func(name string, pick func(w Recovered) *Distances, of func(d *Distances) metric.Optional) RecoveryMeasure {
		m := RecoveryMeasure{Name: name}
		m.Of = func(w Recovered) (v, se metric.Optional) { return of(pick(w)), none }
		m.Floor = func(RecoveryResult) (v, se metric.Optional) { return none, none }
		return m
	}
	original := func(w Recovered) *Distances { return &w.Original }
	reference := func(w Recovered) *Distances { return w.Reference }
	all := []RecoveryMeasure{
		from("from the original, latents", original, func(d *Distances) metric.Optional { return metric.Some(d.Latents) }),
		from("from the original, pixels", original, pixels),
		from("from the original, features", original, features),
		from("from the ODE, pixels", reference, pixels),
		from("from the ODE, features", reference, features),
	}
	all[1].Floor = func(r RecoveryResult) (v, se metric.Optional) { return pixels(&r.Floor), none }
	all[2].Floor = func(r RecoveryResult) (v, se metric.Optional) { return features(&r.Floor), none }
	return append(all, RecoveryMeasure{
		Name: "kernel distance",
		Of: func(w Recovered) (v, se metric.Optional) {
			if w.Pictures == nil {
				return none, none
			}
			return metric.Some(w.Pictures.Kernel), metric.Some(w.Pictures.KernelSE)
		},
		Floor: func(r RecoveryResult) (v, se metric.Optional) {
			if r.HeldOut == nil {
				return none, none
			}
			return metric.Some(r.HeldOut.Kernel), metric.Some(r.HeldOut.KernelSE)
		},
	})
}
