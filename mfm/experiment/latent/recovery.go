package latent

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// RecoveryTest is the test of results of [Recovery.Run].
const RecoveryTest = "picture recovery"

// RecoverySetting says from where held-out pictures are recovered, and in how many steps.
type RecoverySetting struct {
	// Fingerprint is that of [Recovery]. It keeps results of different maps and pictures apart.
	Fingerprint string  `json:"fingerprint,omitempty"`
	T           float64 `json:"t"`     // of the latents with noise, in [0, 1)
	Steps       []int   `json:"steps"` // of the map
	ODE         int     `json:"ode"`   // steps of the reference, by Heun's method
	Seed        int64   `json:"seed"`
}

// RecoveryGrid are the times and the numbers of steps of the paper's figure 6.
func RecoveryGrid() (all []RecoverySetting) {
	for _, t := range []float64{0, 0.1, 0.2, 0.5} {
		all = append(all, RecoverySetting{T: t, Steps: []int{1, 2, 4}, ODE: 50})
	}
	return all
}

// Validate returns an error that names the first value out of range.
func (c RecoverySetting) Validate() error {
	if !(c.T >= 0 && c.T < 1) {
		return fmt.Errorf("t = %g: must lie in [0, 1)", c.T)
	}
	if len(c.Steps) == 0 {
		return fmt.Errorf("steps: none: give at least one number")
	}
	for _, steps := range append([]int{c.ODE}, c.Steps...) {
		if steps < 1 || steps > 1<<12 {
			return fmt.Errorf("%d steps: must lie in [1, 4096]", steps)
		}
	}
	return nil
}

// Distances are root mean square differences between pictures in pairs: of elements of latents, of
// pixels in [-1, 1], and of the features of an evaluator, absent without one.
type Distances struct {
	Latents  float64  `json:"latents"`
	Pixels   float64  `json:"pixels"`
	Features *float64 `json:"features,omitempty"`
}

// Recovered compares the pictures that one sampler recovers.
type Recovered struct {
	Method mfm.Sampling `json:"method"`
	Steps  int          `json:"steps"`
	NFE    int          `json:"nfe"` // evaluations of the network per picture
	// Original are the distances to the pictures that they come from, in latents to their means.
	// For samples of the distribution that the map has learned, latents of the exact posterior
	// would be √2 times its standard deviation from them. Held-out pictures are no samples of the
	// empirical distribution of the training latents, and means lack the noise of the encoder.
	// Reference are the distances to the samples of the ODE of the map's diagonal from the same
	// noise, absent for these.
	Original  Distances  `json:"original"`
	Reference *Distances `json:"reference,omitempty"`
	// Pictures compares their distribution with that of the training pictures, absent without an
	// evaluator.
	Pictures *picture.Result `json:"pictures,omitempty"`
}

// RecoveryResult compares posterior samples of the latents of held-out pictures with noise with
// these pictures: at t = 0 they are samples of the map, near t = 1 the autoencoder's
// reconstructions of the pictures, whose distances from the pictures are Floor.
type RecoveryResult struct {
	Test     string  `json:"test"` // [RecoveryTest]
	T        float64 `json:"t"`
	Pictures int     `json:"pictures"`
	Seed     int64   `json:"seed"`
	// Guidance is that of pictures with a class by a map that has no other ([mfm.Model].ClassScale), 0
	// for none.
	Guidance  float64         `json:"guidance,omitempty"`
	HeldOut   *picture.Result `json:"held_out,omitempty"` // of the held-out pictures themselves
	Floor     Distances       `json:"floor"`              // of their reconstructions
	Recovered []Recovered     `json:"recovered"`          // the last is the reference
}

// Recovery recovers held-out pictures by a map. Finalize, that of the generator, does not free the
// evaluator. It must not be used by several goroutines at once.
type Recovery struct {
	// Fingerprint is a hash of map, autoencoder, pictures and evaluator.
	Fingerprint string

	*Generator
	images    *data.Images
	reference *picture.Reference // nil without an evaluator
	evaluator *picture.Evaluator
	original  pictureSet // the images
	floor     Distances  // of their reconstructions
}

// NewRecovery returns the recovery of held-out pictures by the map in dir, see [OpenGenerator]. An
// evaluator, whose weights have the given hash, compares them with training pictures, too, which
// need no labels; nil means none. It returns an error for pictures that do not fit, and for a
// release that does not sample posteriors.
func NewRecovery(ctx context.Context, b compute.Backend, dir string, e *picture.Evaluator, hash string,
	train, heldOut *data.Images) (_ *Recovery, err error) {
	if release, ok, err := Released(dir); err != nil || ok && !release.Posterior() {
		return nil, cmp.Or(err, fmt.Errorf("%s: %s does not sample posteriors: use a meta flow map", dir, release.Name))
	}
	r := &Recovery{images: heldOut, evaluator: e}
	if r.Generator, err = OpenGenerator(b, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Finalize()
		}
	}()
	r.original.pixels = heldOut.Float32()
	if r.original.latents, err = r.Generator.latents(ctx, heldOut); err != nil {
		return nil, err
	}
	spec := []any{r.Config, r.Shape, r.Codec.Hash, heldOut.Hash(), heldOut.Labels}
	if r.ClassScale != 0 {
		spec = append(spec, r.ClassScale)
	}
	if e != nil {
		unlabeled := *train // which needs no classifier
		unlabeled.Labels = nil
		if r.reference, err = picture.NewReference(ctx, e, &unlabeled, heldOut); err != nil {
			return nil, err
		}
		r.original.features, err = e.FeaturesOf(ctx, r.original.pixels, heldOut.Height, heldOut.Width)
		if err != nil {
			return nil, err
		}
		spec = append(spec, hash, train.Hash())
	}
	reconstructed, err := r.decoded(ctx, r.original.latents)
	if err != nil {
		return nil, err
	}
	r.floor = reconstructed.distances(r.original)
	r.Fingerprint, err = run.Fingerprint(r.Store(), spec)
	return r, err
}

// pictureSet are n pictures.
type pictureSet struct {
	latents  []float32   // flat [n, height, width, channels] of the map
	pixels   []float32   // flat [n, height, width, channels] of the pictures, in [-1, 1]
	features [][]float64 // [n][features of the evaluator], nil without one
}

// decoded returns the pictures of latents.
func (r *Recovery) decoded(ctx context.Context, latents []float32) (of pictureSet, err error) {
	of.latents = latents
	if of.pixels, err = r.Codec.Decode(ctx, latents, r.Shape[0], r.Shape[1]); err != nil || r.evaluator == nil {
		return of, err
	}
	of.features, err = r.evaluator.FeaturesOf(ctx, of.pixels, r.images.Height, r.images.Width)
	return of, err
}

// Run recovers each picture once by each sampler, from the same noise. The samples have the classes
// of the pictures, if the map has classes, and the guidance that a map cannot do without
// ([mfm.Model].ClassScale); pictures without labels have neither.
func (r *Recovery) Run(ctx context.Context, c RecoverySetting) (out RecoveryResult, err error) {
	if err := c.Validate(); err != nil {
		return out, err
	}
	all, latents, err := r.recover(ctx, r.original.latents, r.labels(), c)
	if err != nil {
		return out, err
	}
	out = RecoveryResult{Test: RecoveryTest, T: c.T, Pictures: r.images.N, Floor: r.floor, Seed: c.Seed, Recovered: all}
	if r.images.Labels != nil {
		out.Guidance = r.ClassScale
	}
	if r.reference != nil {
		out.HeldOut = &r.reference.Floor
	}
	var reference *pictureSet
	for i := range slices.Backward(all) { // the reference first
		of, err := r.decoded(ctx, latents[i])
		if err != nil {
			return out, err
		}
		if r.reference != nil {
			result, err := r.reference.Compare(ctx, of.pixels, nil)
			if err != nil {
				return out, err
			}
			all[i].Pictures = &result
		}
		all[i].Original = of.distances(r.original)
		if reference == nil {
			reference = &of
		} else {
			to := of.distances(*reference)
			all[i].Reference = &to
		}
	}
	return out, nil
}

// labels are those of the pictures, or of no class, nil for a map without classes.
func (r *Recovery) labels() []int32 {
	switch {
	case r.Classes == 0:
		return nil
	case r.images.Labels != nil:
		return r.images.Labels
	}
	return slices.Repeat([]int32{int32(r.Classes)}, r.images.N)
}

// recover returns the samplers that recover latents from their noised ones, and what each recovers,
// flat [n, height, width, channels].
func (g *Generator) recover(ctx context.Context, latents []float32, labels []int32, c RecoverySetting) (
	all []Recovered, recovered [][]float32, err error) {
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 32))
	alpha, beta, _, _ := g.Map.Interpolant.At(c.T)
	x, noise := make([]float32, len(latents)), make([]float32, len(latents))
	for i, z := range latents {
		x[i], noise[i] = float32(alpha*rng.NormFloat64()+beta*float64(z)), float32(rng.NormFloat64())
	}
	for i, steps := range append(slices.Clone(c.Steps), c.ODE) {
		sampling := mfm.DefaultSamplerConfig()
		sampling.Steps = steps
		if i == len(c.Steps) {
			sampling.Method = mfm.ODESampling
		}
		sampler, err := g.sampler(sampling)
		if err != nil {
			return nil, nil, err
		}
		flat, err := mfm.Flat(sampler.FromNoise(ctx, States(noise, g.Shape), c.T, States(x, g.Shape), labels))
		if err != nil {
			return nil, nil, fmt.Errorf("recovering pictures by %s in %d steps: %w", sampling.Method, steps, err)
		}
		all = append(all, Recovered{Method: sampling.Method, Steps: steps, NFE: sampler.NFE()})
		recovered = append(recovered, flat)
	}
	return all, recovered, nil
}

// distances returns the distances to other pictures.
func (a pictureSet) distances(b pictureSet) Distances {
	d := Distances{Latents: rms(a.latents, b.latents), Pixels: rms(a.pixels, b.pixels)}
	if a.features != nil {
		features := rms(slices.Concat(a.features...), slices.Concat(b.features...))
		d.Features = &features
	}
	return d
}

// rms returns the root mean square difference of numbers.
func rms[F float32 | float64](a, b []F) float64 {
	var sum float64
	for i, v := range a {
		d := float64(v - b[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}
