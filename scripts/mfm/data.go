package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"github.com/gomfm/gomfm/data"
)

func dataInspect(_ context.Context, s *shell, args []string) error {
	f := newFlags("data inspect", "IMAGES", "LABELS").withJSON()
	files, err := f.parse(s, args)
	if err != nil {
		return err
	}
	summary, err := data.Inspect(files[0], files[1])
	if err != nil {
		return invalid{err}
	}
	if *f.json {
		return writeJSON(s.stdout, summary)
	}
	fmt.Fprintf(s.stdout, "count     %d\n", summary.Count)
	fmt.Fprintf(s.stdout, "shape     %d x %d x %d\n", summary.Shape[0], summary.Shape[1], summary.Shape[2])
	fmt.Fprintf(s.stdout, "mean      %.4f\n", summary.Mean)
	fmt.Fprintf(s.stdout, "variance  %.4f\n", summary.Variance)
	for class, count := range summary.ClassCounts {
		fmt.Fprintf(s.stdout, "class %-3d %d\n", class, count)
	}
	return nil
}

func dataMNIST(ctx context.Context, s *shell, args []string) error {
	f := newFlags("data mnist").withJSON()
	out := f.String("out", "", "`folder` to download to (default: mnist in the user's cache folder)")
	var mirrors []string
	f.Func("mirror", "base `URL` to download from, ending in a slash, in place of the public mirrors; may be given several times", func(base string) error {
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("want a URL of http or https")
		}
		mirrors = append(mirrors, base)
		return nil
	})
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	dir, err := mnistFolder(*out)
	if err != nil {
		return invalid{err}
	}
	fetcher := data.Fetcher{Report: newDownloads(s.stderr).report}
	if err := fetcher.Fetch(ctx, dir, data.MNISTFiles(mirrors...)...); err != nil {
		return err
	}
	train, test, err := data.LoadMNIST(dir)
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, map[string]any{"out": dir, "train": train.N, "test": test.N})
	}
	fmt.Fprintf(s.stdout, "%s: %d + %d images; mfm train digits --data %[1]s trains on them\n", dir, train.N, test.N)
	return nil
}

// mnistFolder returns the folder to download to where the user says dir.
func mnistFolder(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cache, err := data.DefaultDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "mnist"), nil
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
