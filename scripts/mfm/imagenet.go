package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/progress"
)

// imagenetTask is a map of the latents of images.
func imagenetTask() task {
	return task{
		name: "imagenet", about: "a map of latents of images", train: trainImageNet, sample: sampleImageNet,
		eval: evaluateImageNet, steer: imagenetSteering().build, tune: imagenetTuning().build,
		diagnose: diagnoseVerb(image.DefaultDiagnosis(), shippedRun, diagnoseImageNet),
		defaults: func(string) (map[string]any, error) {
			all := make(map[string]any)
			for _, name := range latent.Presets() {
				config, err := latent.Preset(name)
				if err != nil {
					return nil, err
				}
				all["imagenet_"+name] = config
			}
			return all, nil
		},
	}
}

// defaultAutoencoder is the run with the autoencoder of the emoji.
const defaultAutoencoder = "data/weights/emoji"

func trainImageNet(c *command) func() (*training, error) {
	f := c.withConfigOf(latent.Presets(), mapOptions()...)
	location := c.withImages("(default: the 1,906 emoji in the package)")
	codec := c.Flags().String("autoencoder", defaultAutoencoder,
		"`folder` of the autoencoder: of a run, or in the form of diffusers, such as sd-vae-ft-mse")
	cache := c.withLatents()
	teacher := c.Flags().String("teacher", "", "`path` of a trained flow, whose drift teaches instead of the closed "+
		"form: folder of a run or of released weights, or file as for --init; see also --distillation and "+
		"--set teacher.guidance=1.5")
	prefix := c.Flags().String("prefix", "", "`part` of the names' prefix that chooses one of several copies in a "+
		"file of --init or --teacher, such as ema")
	c.withVerdict()
	return func() (*training, error) {
		config, err := latent.Preset(*f.preset)
		if err != nil {
			return nil, err
		}
		from, err := location(data.Location{})
		if err = cmp.Or(err, checkFolder(*cache)); err != nil {
			return nil, err
		}
		var flow *latent.Teacher
		if *teacher != "" {
			if flow, err = latent.OpenTeacher(*teacher, *prefix); err != nil {
				return nil, fmt.Errorf("--teacher: %w", err)
			}
			config.Teacher = &latent.TeacherConfig{Hash: flow.Hash, Guidance: flow.Guidance, To: 1}
			if assumed := flow.Assumed(); assumed != "" {
				fmt.Fprintf(c.ErrOrStderr(), "teacher %s: %s\n", quote(*teacher), assumed)
			}
		}
		var pictures, heldOut latent.Pictures
		load := func() (err error) {
			pictures, heldOut, err = latent.Load(from)
			return err
		}
		if from != (data.Location{}) { // a preset has the classes of its own images
			if err := load(); err != nil {
				return nil, err
			}
			if config, err = config.WithClasses(pictures.ClassNames()); err != nil {
				return nil, err
			}
		}
		if err := f.configure(&config); err != nil {
			return nil, err
		}
		if err = config.Validate(); err == nil && flow != nil {
			err = cmp.Or(config.CheckTeacher(flow), checkCodec(flow, *codec))
		}
		check := func() error {
			switch {
			case config.Teacher != nil && flow == nil:
				return fmt.Errorf("--teacher is missing: name the teacher with the hash %s of the configuration",
					config.Teacher.Hash)
			case from != (data.Location{}):
				return nil
			case *f.preset != "emoji":
				return fmt.Errorf("--data is missing: preset %s is for the images of ImageNet, which cannot be "+
					"distributed: name their folder, with --size 256", *f.preset)
			}
			return load()
		}
		return &training{
			kind: latent.Kind, config: config, manifest: config,
			line: f.line("imagenet", "data", "labels", "size", "skip", "autoencoder", "latents", "teacher", "prefix"),
			data: from.String(), check: check,
			initial: func(path string) (map[string]*tensors.Tensor, error) {
				return config.InitialWeights(path, *prefix)
			},
			run: func(ctx context.Context, b compute.Backend, o run.Options) error {
				var err error
				if o.HeldOutHash, err = heldOut.Hash(ctx); err != nil {
					return err
				}
				codec, l, err := c.encode(ctx, b, config, *codec, *cache, pictures)
				if err != nil {
					return err
				}
				codec.Finalize()
				if l.Cached() && config.Streamed(l.N, l.Shape()) { // New has no context
					if _, err := l.Statistics(ctx, true, config.Flip); err != nil {
						return err
					}
				}
				e, err := latent.New(config, l)
				if err == nil && flow != nil {
					err = e.SetTeacher(flow)
				}
				if err != nil {
					return invalid{err}
				}
				_, err = e.Train(ctx, b, filepath.Clean(codec.Dir), o)
				return err
			},
			verdict: diagnosed(func(ctx context.Context, b compute.Backend, dir string) (*diagnose.Report, error) {
				return latent.Diagnose(ctx, b, dir, heldOut, image.DefaultDiagnosis().Brief(heldOut.Len()))
			}),
		}, err
	}
}

// checkCodec returns an error if the latents of a teacher are those of another autoencoder than
// that in a folder.
func checkCodec(t *latent.Teacher, dir string) error {
	hash, err := latent.CodecHash(dir)
	if err != nil {
		return fmt.Errorf("--autoencoder: %w", err)
	}
	if err := t.CheckCodec(hash); err != nil {
		return fmt.Errorf("--teacher: %w", err)
	}
	return nil
}

// withLatents adds the flag that names the cache of latents.
func (c *command) withLatents() *string {
	return c.Flags().String("latents", "", "`folder` that keeps the latents, in which interrupted encoding goes on "+
		"(default: they are computed anew and held in memory)")
}

// encode opens the autoencoder in a folder and returns the latents of pictures for a map. It shows
// the progress of encoding picture files, and warns of each that is left out.
func (c *command) encode(ctx context.Context, b compute.Backend, config latent.Config, dir, cache string,
	pictures latent.Pictures) (*latent.Codec, *latents.Set, error) {
	codec, err := latent.OpenCodec(b, dir)
	if err != nil {
		return nil, nil, invalid{fmt.Errorf("--autoencoder: %w", err)}
	}
	var l *latents.Set
	if pictures.Images != nil {
		if err := codec.CheckImages(pictures.Images); err != nil {
			return nil, nil, invalid{err}
		}
		l, err = codec.Cached(ctx, cache, pictures.Images)
	} else {
		if err := config.CheckFiles(codec, pictures.Files, cache != ""); err != nil {
			return nil, nil, invalid{err}
		}
		pictures.Sink = progress.Auto(c.ErrOrStderr())
		l, err = codec.CachedFiles(ctx, cache, pictures.Files)
	}
	if errors.Is(err, latents.ErrOther) {
		err = invalid{fmt.Errorf("--latents: %w", err)}
	}
	if err != nil {
		return nil, nil, err
	}
	c.warnOf(l.Bad)
	return codec, l, nil
}

// maxHeldOut and maxReference are the numbers of held-out and of training pictures that an
// evaluation uses, random ones of more.
const maxHeldOut, maxReference = 1000, 5000

// latentRun is a trained map of latents, how it is sampled, and where its images are.
type latentRun struct {
	mfm.Model
	dir      string
	config   latent.Config
	sampling mfm.SamplerConfig
	images   data.Location
	release  *pretrained.Release // of released weights; nil for a run
}

// openLatentRun opens the map of the run that the flags name. Its images are those that the run
// names, with the values of the flags for images.
func openLatentRun(f samplerFlags, images func(data.Location) (data.Location, error)) (r latentRun, err error) {
	if r.dir, r.sampling, err = f.open(); err != nil {
		return r, err
	}
	if *f.at != 0 {
		return r, fmt.Errorf("--at = %d: a map of latents is sampled at the end of its run only", *f.at)
	}
	release, released, err := latent.Released(r.dir)
	if err != nil {
		return r, err
	}
	if method := r.sampling.Method; released && !release.Map() && (method == mfm.MapSampling || method == mfm.RefineSampling) {
		return r, fmt.Errorf("--method %s: %s is the drift of a flow: use --method ode, with --steps 50 or more", method,
			release.Name)
	}
	if released {
		r.release = &release
	}
	if r.images, err = locate(r.dir, released, images); err != nil {
		return r, err
	}
	r.Model, r.config, err = latent.OpenModel(r.dir)
	return r, err
}

// locate returns where the images of a map are: those that its run names, with the values of the
// flags for images. Released weights come without.
func locate(dir string, released bool, images func(data.Location) (data.Location, error)) (l data.Location, err error) {
	if !released {
		m, err := run.ReadManifest(dir, latent.Kind)
		if err != nil {
			return l, err
		}
		if l, err = data.ParseLocation(m.Data); err != nil {
			return l, fmt.Errorf("run %s: %w", dir, err)
		}
	}
	return images(l)
}

// imagenetEvaluation is the quality of a map of latents and of its autoencoder.
type imagenetEvaluation struct {
	Steps int64 `json:"steps,omitempty"` // of the map's training; 0 for released weights
	// PSNR is the mean peak signal-to-noise ratio of held-out images after a round trip through the
	// autoencoder, in decibels.
	PSNR      float64                  `json:"psnr"`
	Posterior []latent.PosteriorResult `json:"posterior"`
	// HeldOut compares held-out pictures with the training pictures, Generated as many samples of
	// their classes. They need an evaluator.
	HeldOut   *picture.Result           `json:"held_out,omitempty"`
	Generated []latent.GenerationResult `json:"generated,omitempty"`
}

// generate adds the comparison of generated pictures by the evaluator in a file.
func (out *imagenetEvaluation) generate(ctx context.Context, b compute.Backend, dir, file string, train latent.Pictures,
	heldOut *data.Images, seed int64) error {
	evaluator, err := picture.OpenEvaluator(b, file)
	if err != nil {
		return invalid{fmt.Errorf("--evaluator: %w", err)}
	}
	defer evaluator.Finalize()
	g, err := latent.OpenGenerator(b, dir)
	if err != nil {
		return invalid{err}
	}
	defer g.Finalize()
	pictures, err := train.Random(ctx, maxReference)
	if err != nil {
		return err
	}
	r, err := picture.NewReference(ctx, evaluator, pictures, heldOut)
	if err != nil {
		return err
	}
	out.HeldOut = &r.Floor
	for _, way := range latent.DefaultGenerations(g.Classes) {
		result, err := g.Compare(ctx, r, way, seed, heldOut.Labels, heldOut.N)
		if err != nil {
			return err
		}
		out.Generated = append(out.Generated, result)
	}
	return nil
}

// lines returns the comparison as text.
func (out *imagenetEvaluation) lines() (text string) {
	line := func(name string, r picture.Result) {
		text += fmt.Sprintf("%s: Fréchet distance %.1f, kernel distance %.3f ± %.3f, nearest training picture %.3f", name,
			r.Frechet, r.Kernel, r.KernelSE, r.NearestPixels)
		if r.Accuracy != nil {
			text += fmt.Sprintf(", class right %.3f", *r.Accuracy)
		}
		text += "\n"
	}
	if out.HeldOut != nil {
		line("held-out pictures", *out.HeldOut)
	}
	for _, g := range out.Generated {
		line(fmt.Sprintf("%s, %d steps, guidance %g, %d evaluations", g.Method, g.Steps, g.Guidance, g.NFE), g.Result)
	}
	return text
}

func evaluateImageNet(c *command) prepare {
	f, images := c.withSampler(), c.withImages("(default: what the run names)")
	cache := c.withLatents()
	evaluator := c.Flags().String("evaluator", "", "`file` of the network whose features compare pictures, see mfm weights get "+
		"efficientnet-lite0, or folder of a CLIP (default: posteriors alone)")
	set := c.withSettings(
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of contexts at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each of them"},
		option{name: "seed", path: "seed", usage: "`seed` of all noise"},
	)
	return func() (work, error) {
		config := latent.DefaultEvalConfig()
		err := cmp.Or(checkFolder(*cache), set.apply(&config))
		if err == nil {
			err = config.Validate()
		}
		if err != nil {
			return nil, err
		}
		r, err := openLatentRun(f, images)
		if err != nil {
			return nil, err
		}
		train, heldOut, err := latent.Load(r.images)
		if err != nil {
			return nil, err
		}
		if r.config.Streamed(train.Len(), r.Shape) {
			return nil, fmt.Errorf("--data: exact posteriors need all latents in memory, but those of %d pictures "+
				"need more than memory = %d bytes in the configuration of its run: evaluate one of fewer", train.Len(),
				cmp.Or(r.config.Memory, latent.DefaultMemory))
		}
		return func(ctx context.Context, b compute.Backend) error {
			codec, l, err := c.encode(ctx, b, r.config, r.dir, *cache, train)
			if err != nil {
				return err
			}
			defer codec.Finalize()
			e, store, err := latent.Open(r.dir, l)
			if err != nil {
				return invalid{err}
			}
			images, err := heldOut.Random(ctx, maxHeldOut)
			if err != nil {
				return err
			}
			c.warnOf(images.Bad)
			pixels, err := codec.Reconstruct(ctx, images)
			if err != nil {
				return err
			}
			decibels := latent.PSNR(pixels, images)
			var out imagenetEvaluation
			if r.release == nil {
				if out.Steps, err = run.Steps(r.dir, r.config.Train.Steps); err != nil {
					return err
				}
			}
			for _, v := range decibels {
				out.PSNR += v / float64(len(decibels))
			}
			if out.Posterior, err = e.Posteriors(ctx, b, store, r.sampling, config); err != nil {
				return err
			}
			if *evaluator != "" {
				if err := out.generate(ctx, b, r.dir, *evaluator, train, images, config.Seed); err != nil {
					return err
				}
			}
			text := fmt.Sprintf("PSNR of the autoencoder on %d held-out images: %.2f dB\n", images.N, out.PSNR)
			for _, r := range out.Posterior {
				text += fmt.Sprintf("t = %g: sliced W2 %.4f (floor %.4f), posterior std %.4f, excess %.3f, of the data's std %.3f, "+
					"diversity %.3f\n", r.T, r.SW2, r.Floor, r.Std, r.Excess, r.DataExcess, r.Diversity)
			}
			return c.write(out, text+out.lines())
		}, nil
	}
}
