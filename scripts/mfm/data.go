package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/metric"
)

func dataCommand() *cobra.Command {
	return group("data", "inspect or download images, or write points",
		leaf("inspect IMAGES [LABELS]",
			"check picture files (a folder, .tar or .csv) or a pair of IDX files, and summarize them", dataInspect),
		leaf("mnist", "download MNIST, 60,000 + 10,000 digits", dataMNIST),
		leaf("points", "write points of a set whose posteriors are known, such as two moons, to a file", dataPoints),
	)
}

func dataInspect(c *command) prepare {
	c.withJSON()
	return func() (work, error) {
		files := c.Flags().Args()
		if len(files) == 1 {
			set, err := stream.Open(files[0])
			return func(ctx context.Context, _ compute.Backend) error { return c.inspectPictures(ctx, set) }, err
		}
		summary, err := data.Inspect(files[0], files[1])
		return func(context.Context, compute.Backend) error {
			text := fmt.Sprintf("count     %d\nshape     %d x %d x %d\nmean      %.4f\nvariance  %.4f\n",
				summary.Count, summary.Shape[0], summary.Shape[1], summary.Shape[2], summary.Mean, summary.Variance)
			for class, count := range summary.ClassCounts {
				text += fmt.Sprintf("class %-3d %d\n", class, count)
			}
			return c.write(summary, text)
		}, err
	}
}

// inspectPictures decodes all pictures of a set, and writes their number, sizes and classes, and
// the bad files. It shows the progress, a line for each tenth of a large set.
func (c *command) inspectPictures(ctx context.Context, set *stream.Set) error {
	const large = 10_000
	r, err := set.Inspect(ctx, 0, func(done, total int) {
		if total >= large && 10*done/total > 10*(done-1)/total {
			fmt.Fprintf(c.ErrOrStderr(), "%d of %d files\n", done, total)
		}
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "count     %d\nheight    %d to %d\nwidth     %d to %d\n",
		r.Count, r.Height[0], r.Height[1], r.Width[0], r.Width[1])
	for k, class := range r.Classes {
		fmt.Fprintf(&text, "class %-3d %d  %s\n", k, class.Count, class.Name)
	}
	fmt.Fprintf(&text, "bad       %d\n", len(r.Bad))
	for _, bad := range r.Bad {
		fmt.Fprintf(&text, "%s %s\n", bad.File, bad.Reason)
	}
	return c.write(r, text.String())
}

func dataMNIST(c *command) prepare {
	c.withJSON()
	out := c.Flags().String("out", "", "`folder` to download to (default: mnist in the user's cache folder)")
	mirrors := c.withMirrors("the public mirrors")
	return func() (work, error) {
		dir := *out
		if dir == "" {
			cache, err := data.DefaultDir()
			if err != nil {
				return nil, err
			}
			dir = filepath.Join(cache, "mnist")
		}
		return func(ctx context.Context, _ compute.Backend) error {
			fetcher := data.Fetcher{Report: newDownloads(c.ErrOrStderr()).report}
			if err := fetcher.Fetch(ctx, dir, data.MNISTFiles(*mirrors...)...); err != nil {
				return err
			}
			train, heldOut, err := data.LoadMNIST(dir)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s: %d + %d images; mfm train digits --data %[1]s trains on them\n", dir, train.N,
				heldOut.N)
			return c.write(map[string]any{"out": dir, "train": train.N, "test": heldOut.N}, text)
		}, nil
	}
}

// withMirrors adds the flag for servers to download from, instead of the given ones.
func (c *command) withMirrors(instead string) *[]string {
	mirrors := new([]string)
	usage := "base `URL` to download from, instead of " + instead + "; may be repeated"
	c.Flags().Func("mirror", usage, func(base string) error {
		if err := checkMirror(base); err != nil {
			return err
		}
		*mirrors = append(*mirrors, base)
		return nil
	})
	return mirrors
}

func checkMirror(base string) error {
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("want a URL of http or https")
	}
	return nil
}

// downloads shows the progress of downloads, a line for each tenth of a file.
type downloads struct {
	w     io.Writer
	file  string
	tenth int64
}

func newDownloads(w io.Writer) *downloads { return &downloads{w: w, tenth: -1} }

func (d *downloads) report(e data.Event) {
	switch {
	case e.Err != nil:
		fmt.Fprintf(d.w, "%s: %s\n", e.File, oneLine(e.Err))
		return
	case e.Wait > 0:
		fmt.Fprintf(d.w, "%s: trying again in %v\n", e.File, e.Wait)
		return
	}
	tenth := 10 * e.Done / e.Total
	if e.File == d.file && tenth == d.tenth {
		return
	}
	d.file, d.tenth = e.File, tenth
	fmt.Fprintf(d.w, "%s  %3d%%  %d of %d kB\n", e.File, 10*tenth, e.Done/1000, e.Total/1000)
}

// fidFlags are the flags of mfm eval fid.
type fidFlags struct {
	distance.Config
	c                                                        *command
	features, samples, statistics, weights, array, out, save string
	shard, shards                                            int
	reference                                                distance.Statistics // of --statistics
}

func evaluateFID(c *command) prepare {
	c.withOutput()
	f := &fidFlags{c: c, Config: distance.DefaultConfig()}
	text := func(to *string, name, usage string) { c.Flags().StringVar(to, name, "", usage) }
	text(&f.features, "features", "`file` of the features of samples, an array [n, dim] in a .npy or .npz file, or folder of --out; "+
		"the operand FILE has those of the reference")
	text(&f.samples, "samples", "`path` of pictures: a folder of PNGs, or a .npz or .npy file of uint8 [n, height, width, 3]")
	text(&f.statistics, "statistics", "`FILE`.npz of the reference's moments, with the arrays mu and sigma, as published")
	text(&f.weights, "weights", "`file` of the network: pytorch-fid's pt_inception-2015-12-05-6726825d.pth for the FID, or an "+
		"EfficientNet-Lite or the folder of a CLIP for another distance (required with --samples)")
	text(&f.array, "array", "`name` of the array in .npz files (default: the first)")
	text(&f.out, "out", "`folder` that keeps the features of --samples, with which a stopped command resumes and shards meet")
	text(&f.save, "save", "`FILE`.npz to which the moments of the samples are written, for --statistics")
	shard := c.Flags().String("shard", "", "`i/n`: features of shard i of n, from 0, of the pictures, kept in --out; the command "+
		"without --shard then joins them")
	c.Flags().IntVar(&f.Subsets, "subsets", f.Subsets, "`number` of random subsets of the kernel distance; 0 for none")
	c.Flags().IntVar(&f.Size, "size", f.Size, "`number` of pictures of a subset, if there are as many")
	c.Flags().IntVar(&f.Neighbors, "neighbors", f.Neighbors, "`number` of neighbors of precision and recall, whose time grows with the "+
		"square of the number of pictures; 0 for none")
	c.Flags().Uint64Var(&f.Seed, "seed", 0, "`seed` of the subsets")
	return func() (work, error) {
		part, parts, err := sweep.ParseShard(*shard)
		if err = cmp.Or(err, f.Validate(), f.check(*shard)); err != nil {
			return nil, err
		}
		f.shard, f.shards, c.dir = part, parts, f.out
		if f.statistics != "" {
			if f.reference, err = distance.ReadStatistics(f.statistics); err != nil {
				return nil, fmt.Errorf("--statistics: %w", err)
			}
		}
		if f.samples != "" {
			return f.ofSamples()
		}
		c.backendName = nil // stored features need no backend
		return f.ofFeatures()
	}
}

// check returns an error for flags that do not fit together.
func (f *fidFlags) check(shard string) error {
	reference := f.c.Flags().Arg(0)
	switch {
	case (f.features == "") == (f.samples == ""):
		return errors.New("give either --features, stored features, or --samples, pictures")
	case f.features != "" && reference == "" && f.statistics == "" && f.save == "":
		return errors.New("--features: give the file with the features of the reference as operand, or --statistics")
	case f.features != "" && reference != "" && (f.statistics != "" || f.save != ""):
		return fmt.Errorf("unexpected argument %q beside --statistics or --save, which take moments alone", reference)
	case f.samples != "" && reference != "":
		return fmt.Errorf("unexpected argument %q: give the reference of --samples by --statistics", reference)
	case f.samples != "" && f.weights == "":
		return errors.New("--weights is missing: name the file of the network")
	case f.samples == "" && (f.weights != "" || f.out != "" || shard != ""):
		return errors.New("--weights, --out and --shard are for --samples")
	case shard != "" && f.out == "":
		return fmt.Errorf("--shard %s: name the folder in which the shards meet by --out", shard)
	case f.samples != "" && f.statistics == "" && f.save == "" && f.out == "":
		return errors.New("--statistics is missing: name the moments of the reference, or give --save or --out")
	case shard != "" && (f.statistics != "" || f.save != ""):
		return fmt.Errorf("--shard %s computes features alone: give --statistics and --save to the last command, without --shard",
			shard)
	}
	return checkFolder(f.out)
}

// ofFeatures compares stored features.
func (f *fidFlags) ofFeatures() (work, error) {
	samples, err := distance.ReadFeatures(f.features, f.array)
	if err != nil {
		return nil, err
	}
	if err := distance.CheckRows(samples, max(f.Neighbors+1, 2)); err != nil {
		return nil, fmt.Errorf("%s: %w", f.features, err)
	}
	source, err := distance.ReadSource(f.features)
	if err != nil {
		return nil, err
	}
	named := fmt.Sprintf("%s, stored in %s", source, f.features)
	path := f.c.Flags().Arg(0)
	if path == "" {
		m, err := metric.NewMoments(samples, nil)
		if err != nil {
			return nil, err
		}
		return f.ofMoments(distance.Statistics{Moments: m, N: len(samples)}, source.Name(), named)
	}
	reference, err := distance.ReadFeatures(path, f.array)
	if err != nil {
		return nil, err
	}
	if err := distance.CheckRows(reference, max(f.Neighbors+1, 2)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if a, b := len(samples[0]), len(reference[0]); a != b {
		return nil, fmt.Errorf("%s has %d features of a sample, %s %d: give features of one network", f.features, a, path, b)
	}
	other, err := distance.ReadSource(path)
	if err != nil {
		return nil, err
	}
	unknown := source == distance.Source{} || other == distance.Source{}
	if !unknown && source != other {
		return nil, fmt.Errorf("%s has features of %s, %s of %s: give features of one network", f.features, source,
			path, other)
	}
	return func(ctx context.Context, _ compute.Backend) error {
		f.warnOfFew(min(len(samples), len(reference)), len(samples[0]))
		r, err := distance.OfFeatures(ctx, samples, reference, f.Config)
		if err != nil {
			return err
		}
		r.Features = named + " and " + path
		if !unknown {
			r.Name = source.Name()
		}
		return f.c.write(r, r.String())
	}, nil
}

// ofMoments compares moments of samples with --statistics, if given, after writing them to --save.
func (f *fidFlags) ofMoments(samples distance.Statistics, name, features string) (work, error) {
	if err := f.checkDim(len(samples.Mean)); err != nil {
		return nil, err
	}
	return func(context.Context, compute.Backend) error {
		if f.save != "" {
			if err := distance.WriteStatistics(f.save, samples); err != nil {
				return err
			}
		}
		f.warnOfFew(samples.N, len(samples.Mean))
		if f.statistics == "" {
			return f.c.write(map[string]any{"features": features, "samples": samples.N, "dim": len(samples.Mean)},
				fmt.Sprintf("%d samples, %d features of %s\n", samples.N, len(samples.Mean), features))
		}
		r, err := distance.OfMoments(samples, f.reference)
		if err != nil {
			return err
		}
		r.Name, r.Features = name, features
		return f.c.write(r, r.String())
	}, nil
}

// checkDim returns an error unless the reference, if given, has so many features.
func (f *fidFlags) checkDim(dim int) error {
	if d := len(f.reference.Mean); f.statistics != "" && d != dim {
		return fmt.Errorf("--statistics %s: moments of %d features, the samples have %d: give those of the same network",
			f.statistics, d, dim)
	}
	return nil
}

// warnOfFew warns of a covariance that is singular.
func (f *fidFlags) warnOfFew(n, dim int) {
	if n <= dim {
		f.c.warn(fmt.Errorf("the covariance of %d samples is singular for %d features: the Fréchet distance is much too large; "+
			"compare only with one of as many samples", n, dim))
	}
}

// ofSamples computes the features of pictures.
func (f *fidFlags) ofSamples() (work, error) {
	pictures, err := distance.OpenPictures(f.samples, f.array)
	if err != nil {
		return nil, fmt.Errorf("--samples: %w", err)
	}
	if pictures.N < 2 {
		return nil, fmt.Errorf("--samples %s: one picture: give at least two", f.samples)
	}
	if _, err := os.Stat(f.weights); err != nil {
		return nil, fmt.Errorf("--weights: %w", err)
	}
	return func(ctx context.Context, b compute.Backend) error {
		defer pictures.Close()
		network, err := distance.OpenNetwork(b, f.weights)
		if err != nil {
			return invalid{fmt.Errorf("--weights: %w", err)}
		}
		defer network.Finalize()
		if err := f.checkDim(network.Features); err != nil {
			return invalid{err}
		}
		x := distance.Extraction{Dir: f.out, Shard: f.shard, Shards: f.shards, Done: func(n, of int) {
			fmt.Fprintf(f.c.ErrOrStderr(), "%d of %d pictures\n", n, of)
		}}
		var moments metric.MomentStream
		visit := moments.Add
		if f.shards > 1 {
			visit = nil
		}
		err = x.Run(ctx, network, pictures, visit)
		switch _, bad := errors.AsType[distance.PictureError](err); {
		case errors.Is(err, distance.ErrOtherFeatures):
			return invalid{fmt.Errorf("--out: %w", err)}
		case bad:
			return invalid{fmt.Errorf("--samples: %w", err)}
		case err != nil:
			return err
		}
		if f.shards > 1 {
			return f.c.write(map[string]any{"features": network.String(), "out": f.out, "shard": f.shard, "shards": f.shards},
				fmt.Sprintf("%s: features of shard %d of %d, %s\n", f.out, f.shard, f.shards, network))
		}
		m, err := moments.Moments()
		if err != nil {
			return err
		}
		compare, err := f.ofMoments(distance.Statistics{Moments: m, N: moments.N()}, network.Name(), network.String())
		if err != nil {
			return err
		}
		return compare(ctx, b)
	}, nil
}
