package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// imageSamples are posterior samples of images, each flat, [height, width, channels] with pixels in
// [-1, 1].
type imageSamples struct {
	T       float64       `json:"t"`
	Shape   []int         `json:"shape"`
	Classes []string      `json:"classes,omitempty"` // of the rows
	Images  [][]float32   `json:"images,omitempty"`  // the clean images of the contexts, [rows][pixels]
	Samples [][][]float32 `json:"samples"`           // [rows][samples][pixels]
	// Guidance is absent if there is none.
	Guidance *guidance `json:"guidance,omitempty"`
}

func sampleImageNet(c *command) prepare {
	f, images := c.withSampler(), c.withImages("(default: what the run names)")
	t := c.Flags().Float64("t", 0, "`time` of the contexts, noised held-out images; 0 for samples without a context")
	contexts := c.Flags().Int("contexts", 4, "`number` of contexts, one a row; at t = 0 without --class a row for each of the first 16 classes")
	first := c.Flags().Int("first", 0, "`number` of the first held-out image, from 0")
	n := c.Flags().Int("n", 8, "`number` of samples for each row")
	seed := c.Flags().Int64("seed", 0, "`seed` of the noise")
	class := c.Flags().String("class", "",
		"`name` or number of the class of the samples (default: at t = 0 each class, otherwise any)")
	guidance := c.withGuidance()
	c.Flags().Lookup("guidance").Usage += "; released weights that know classes with one scale alone have that one by " +
		"default"
	tile := c.Flags().Int("tile", 0, "`side` in pixels of the tiles by which the autoencoder works on large images, "+
		"such as 256, to save memory (default: whole images)")
	out := c.Flags().String("out", "", sampleFormats+"for the samples or a figure of them; with --count, the "+
		"folder of the images")
	count := c.Flags().Int("count", 0, "`number` of images to write to the folder --out, of all classes in turn or of --class, "+
		"instead of a figure; image i does not depend on the others")
	shard := c.Flags().String("shard", "", "`i/n`: shard i of n, from 0, of the images of --count; only each n-th image")
	npz := c.Flags().String("npz", "", "`FILE`.npz to which all images of --count are written as well, as arr_0, uint8 "+
		"[n, height, width, 3]; not with --shard, but after all shards")
	tuned := c.Flags().String("tuned", "", "`folder` of a drift that mfm tune imagenet tuned from the map: samples by Euler steps "+
		"of its ODE, 50 or --steps")
	preset := c.Flags().String("preset", "emoji",
		"`name`: emoji for the map of a run; b2 or xl2 for a folder with weights as their authors released them, see mfm weights get")
	c.complete("preset", false, latent.Presets()...)
	c.Flags().Lookup("checkpoint").Usage = "`folder` of the run, finished or not, or of released weights (default: the shipped " +
		shippedEmoji + ")"
	return func() (work, error) {
		if err := chooseWeights(f.checkpoint, *preset); err != nil {
			return nil, err
		}
		if *out == "" && !c.json {
			return nil, fmt.Errorf("--out is missing: name a file such as x.png or x.npy, or give --json")
		}
		err := cmp.Or(checkTime(*t), checkCount("contexts", *contexts), checkCount("n", *n))
		if err == nil && *count == 0 {
			err = checkSamples(*out)
		}
		if err == nil && *shard != "" && *count == 0 {
			err = fmt.Errorf("--shard %s: shards are of --count images", *shard)
		}
		if err == nil && *count != 0 {
			if err = latent.CheckImageCount(*count); err != nil {
				err = fmt.Errorf("--%w", err)
			}
		}
		if err == nil && *count != 0 && (*t != 0 || *out == "") {
			err = fmt.Errorf("--count = %d: images need a folder, --out, and no context, --t 0", *count)
		}
		if err == nil && *npz != "" && (*count == 0 || *shard != "") {
			err = fmt.Errorf("--npz %s: it takes all images of --count: give it to the last command, without --shard", *npz)
		}
		if err == nil && *tuned != "" {
			return f.sampleTuned(*tuned, *class, *n, *seed, *out)
		}
		part, parts, shardErr := sweep.ParseShard(*shard)
		if err = cmp.Or(err, shardErr, checkFolderOf(*count, *out)); err != nil {
			return nil, err
		}
		r, err := openLatentRun(f, images)
		if err != nil {
			return nil, err
		}
		if r.release != nil && *t > 0 && !r.release.Posterior() {
			return nil, fmt.Errorf("--t = %g: %s has no posteriors: use --t 0", *t, r.release.Name)
		}
		labels, err := classesOf(r.config, *class, *t, *contexts)
		classed := labels != nil && labels[0] != int32(r.Classes)
		if err == nil && *count == 0 && guidance.Scale != 1 && !classed {
			err = fmt.Errorf("--guidance = %g: name the class to guide to with --class", guidance.Scale)
		}
		if err != nil {
			return nil, err
		}
		m, err := r.guide(c, guidance, classed)
		if err != nil {
			return nil, err
		}
		if *count != 0 {
			if method := r.sampling.Method; method != mfm.MapSampling && method != mfm.ODESampling {
				return nil, fmt.Errorf("--count: --method %s: each image needs one noise of its own: use map or ode", method)
			}
			set := latent.ImageSet{Sampling: r.sampling, Seed: *seed, Count: *count, Classes: r.turns(*class, labels)}
			return func(ctx context.Context, b compute.Backend) error {
				return r.writeImages(ctx, c, b, m, *guidance, *tile, set, *out, *npz, part, parts)
			}, nil
		}
		var heldOut *data.Images
		if *t > 0 {
			_, pictures, err := latent.Load(r.images)
			if err != nil {
				return nil, err
			}
			pictures.MaxBad = 0 // each row has its context
			if heldOut, err = pictures.Slice(c.Context(), *first, *first+*contexts); err != nil {
				return nil, fmt.Errorf("--first, --contexts: held-out images: %w", err)
			}
		}
		return func(ctx context.Context, b compute.Backend) error {
			samples, err := r.drawImages(ctx, b, m, *tile, heldOut, *t, *n, *seed, labels)
			if err != nil {
				return err
			}
			samples.Guidance = guidance.result()
			for _, label := range labels {
				samples.Classes = append(samples.Classes, className(r.config, label))
			}
			if err := samples.write(*out); err != nil {
				return err
			}
			return c.write(samples, fmt.Sprintf("%s: %d rows of %d samples at t = %g%v\n", *out, len(samples.Samples), *n,
				*t, guidance))
		}, nil
	}
}

// guide returns the model with the guidance of the flags. A map that was trained on classes with
// one scale alone has that scale by default, and no guidance without a class.
func (r latentRun) guide(c *command, g *guidance, classed bool) (mfm.Model, error) {
	switch {
	case r.ClassScale == 0:
	case !classed && g.Scale == 1 && g.From == 0 && g.To == 1:
		return r.Model, nil
	case classed && !c.Flags().Changed("guidance"):
		g.Scale = r.ClassScale
	}
	return g.of(r.Model, r.sampling)
}

// shippedEmoji is the folder of the default model in a checkout.
const shippedEmoji = "data/weights/emoji"

// chooseWeights sets the default of a folder of weights, and returns an error unless it is of the
// preset.
func chooseWeights(dir *string, preset string) error {
	if _, err := latent.Preset(preset); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if preset == "emoji" {
		if *dir != "" {
			return nil
		}
		if _, err := os.Stat(shippedEmoji); err != nil {
			return fmt.Errorf("--checkpoint is missing: name the folder of a run, or run this in a checkout, whose %s is "+
				"the default", shippedEmoji)
		}
		*dir = shippedEmoji
		return nil
	}
	if _, err := run.ReadManifest(*dir, latent.Kind); err == nil {
		return nil // a run that was trained with the preset
	}
	r, ok, err := latent.Released(*dir)
	if err == nil && !(ok && strings.HasSuffix(strings.ReplaceAll(r.Name, "-", ""), preset)) {
		var names []string
		for _, r := range pretrained.Releases() {
			if strings.HasSuffix(strings.ReplaceAll(r.Name, "-", ""), preset) {
				names = append(names, r.File+" (mfm weights get "+r.Name+")")
			}
		}
		err = fmt.Errorf("--preset %s: --checkpoint must name a folder with one of %s, and with an autoencoder, such as that of "+
			"mfm weights get sd-vae-ft-mse", preset, strings.Join(names, ", "))
	}
	return err
}

// classesOf returns the labels of the rows, nil for a map without classes.
func classesOf(config latent.Config, class string, t float64, contexts int) ([]int32, error) {
	n := config.Network.ClassCount()
	switch {
	case n == 0 && class != "":
		return nil, fmt.Errorf("--class = %s: the map has no classes", class)
	case n == 0:
		return nil, nil
	case class == "" && t > 0:
		return slices.Repeat([]int32{int32(n)}, contexts), nil
	case class == "":
		var all []int32
		for label := range min(n, 16) {
			all = append(all, int32(label))
		}
		return all, nil
	}
	label := slices.IndexFunc(config.ClassNames, func(name string) bool { return strings.EqualFold(name, class) })
	if number, err := strconv.Atoi(class); err == nil && label < 0 {
		label = number
	}
	if label < 0 || label >= n {
		if len(config.ClassNames) == 0 {
			return nil, fmt.Errorf("--class = %s: give a number below %d", class, n)
		}
		return nil, fmt.Errorf("--class = %s: give one of %s, or a number below %d", class,
			strings.Join(config.ClassNames, ", "), n)
	}
	return slices.Repeat([]int32{int32(label)}, contexts), nil
}

// anyClass is the name of samples without a class.
const anyClass = "any"

// className returns the name of a class, or its number, or anyClass.
func className(config latent.Config, label int32) string {
	switch {
	case int(label) == config.Network.ClassCount():
		return anyClass
	case len(config.ClassNames) > 0:
		return config.ClassNames[label]
	}
	return strconv.Itoa(int(label))
}

// drawImages draws n samples of the model m for each held-out image noised to time t, or for each
// label at t = 0, and decodes them, by tiles unless tile is 0.
func (r latentRun) drawImages(ctx context.Context, b compute.Backend, m mfm.Model, tile int, heldOut *data.Images,
	t float64, n int, seed int64, labels []int32) (*imageSamples, error) {
	g, err := latent.NewGenerator(b, r.Model, r.config, r.dir)
	if err != nil {
		return nil, invalid{err}
	}
	defer g.Finalize()
	if err := g.Codec.SetTile(tile); err != nil {
		return nil, invalid{fmt.Errorf("--tile: %w", err)}
	}
	g = g.With(m)
	rows := max(len(labels), 1)
	x := make([]float32, rows*m.Elements())
	out := &imageSamples{T: t, Shape: g.Size()}
	if heldOut != nil {
		rows = heldOut.N
		if x, err = g.Contexts(ctx, heldOut, t, seed); err != nil {
			return nil, invalid{err}
		}
		out.Images = slices.Collect(slices.Chunk(heldOut.Float32(), heldOut.Dim()))
	}
	pixels, err := g.Posterior(ctx, r.sampling, seed, t, x, n, labels)
	if err != nil {
		return nil, err
	}
	out.split(pixels, rows, n)
	return out, nil
}

// split sets the samples to those of rows with n pictures each.
func (d *imageSamples) split(pixels []float32, rows, n int) {
	all := slices.Collect(slices.Chunk(pixels, len(pixels)/(rows*n)))
	d.Samples = slices.Collect(slices.Chunk(all, n))
}

// checkFolderOf returns an error if images are to be written to what is no folder.
func checkFolderOf(count int, dir string) error {
	if count == 0 {
		return nil
	}
	return checkFolder(dir)
}

// turns returns the labels that the images of a set have in turn: the label of the class that is
// named, or all.
func (r latentRun) turns(class string, labels []int32) (all []int32) {
	if class != "" {
		return labels[:1]
	}
	for label := range r.Classes {
		all = append(all, int32(label))
	}
	return all
}

// writeImages writes a shard of a set of images of the model m to a folder, decoded by tiles unless
// tile is 0, and all images to the file npz unless that is empty.
func (r latentRun) writeImages(ctx context.Context, c *command, b compute.Backend, m mfm.Model, w guidance, tile int,
	set latent.ImageSet, dir, npz string, shard, shards int) error {
	g, err := latent.NewGenerator(b, r.Model, r.config, r.dir)
	if err != nil {
		return invalid{err}
	}
	defer g.Finalize()
	if err := g.Codec.SetTile(tile); err != nil {
		return invalid{fmt.Errorf("--tile: %w", err)}
	}
	if set.Fingerprint, err = run.Fingerprint(m.Store(), []any{r.config.Network, w, g.Codec.Hash}); err != nil {
		return err
	}
	err = g.With(m).Generate(ctx, dir, set, shard, shards, func(n, of int) {
		fmt.Fprintf(c.ErrOrStderr(), "%d of %d images\n", n, of)
	})
	if errors.Is(err, latent.ErrOtherImages) {
		err = invalid{fmt.Errorf("--out: %w", err)}
	}
	if err != nil {
		return err
	}
	if npz != "" {
		if err := set.WriteNPZ(ctx, dir, npz); err != nil {
			return err
		}
	}
	return c.write(set, fmt.Sprintf("%s: %d images, shard %d of %d\n", dir, set.Count, shard, shards))
}

// write writes the samples to a file, or a figure of them, unless path is empty.
func (d *imageSamples) write(path string) error {
	if path == "" {
		return nil
	}
	rows := slices.Concat(d.Samples...)
	return samplefile.Write(path, samplefile.Samples{
		Values: slices.Concat(rows...), Shape: append([]int{len(d.Samples), len(d.Samples[0])}, d.Shape...),
		Index: []string{"row", "sample"}, JSON: d, Figure: d.figure,
	})
}

// figure draws a row for each context: its clean image if there is one, and the samples. Rows have
// the names of their classes, unless none has one.
func (d *imageSamples) figure() *figure.Figure {
	var pixels []float32
	cols, gaps, titles := len(d.Samples[0]), []int(nil), []string{"samples"}
	if d.Images != nil {
		cols, gaps, titles = cols+1, []int{0}, []string{"image", fmt.Sprintf("posterior samples at t = %g", d.T)}
	}
	for i, row := range d.Samples {
		if d.Images != nil {
			pixels = append(pixels, d.Images[i]...)
		}
		pixels = append(pixels, slices.Concat(row...)...)
	}
	labels := d.Classes
	if !slices.ContainsFunc(labels, func(name string) bool { return name != anyClass }) {
		labels = nil
	}
	fig := figure.New(figure.Paper(), 1, 1)
	fig.Panel(0, 0).Add(figure.Images{
		Pixels: pixels, N: cols * len(d.Samples), H: d.Shape[0], W: d.Shape[1], C: d.Shape[2], Cols: cols, Gaps: gaps,
		ColTitles: titles, RowLabels: labels,
	})
	return fig
}
