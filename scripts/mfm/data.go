package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
)

func dataCommand() *cobra.Command {
	return group("data", "inspect or download images",
		leaf("inspect IMAGES [LABELS]",
			"check picture files (a folder, .tar or .csv) or a pair of IDX files, and summarize them", dataInspect),
		leaf("mnist", "download MNIST, 60,000 + 10,000 digits", dataMNIST),
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
