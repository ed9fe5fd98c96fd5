package data

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrChecksum is the error, wrapped, of a [Fetcher] if a complete download has the wrong checksum.
var ErrChecksum = errors.New("wrong SHA-256")

// File is a file to download, with its mirrors, size and checksum.
type File struct {
	Name   string   // base name in the target folder
	SHA256 string   // in hex; empty if it is unknown: then the size alone is checked, see [Fetcher.Look]
	Size   int64    // in bytes, positive
	URLs   []string // mirrors, in the order in which to try them
}

// Event is a step of a download, for displaying progress.
type Event struct {
	File        string        // name of the file
	Done, Total int64         // bytes on disk, and size of the file
	Err         error         // why an attempt failed; nil while data arrive
	Wait        time.Duration // length of the wait, now starting, before the next attempts
}

// Fetcher downloads files over HTTP. The zero value is ready to use.
//
// A file arrives as NAME.part, is synced, verified, and only then renamed to NAME. So a file under
// its own name is complete, and a valid file is never replaced. After a failure, a canceled
// context or a kill, NAME.part remains, and a later call resumes from it. Concurrent calls for the
// same file, also from several processes, wait for each other by a lock on the empty file
// .NAME.lock, which remains.
type Fetcher struct {
	Client *http.Client // nil means one without a total time limit; Stall ends dead connections

	Attempts int           // rounds over the mirrors without progress before giving up; 0: 5
	Backoff  time.Duration // first wait between rounds, doubled up to a minute; 0: one second
	Stall    time.Duration // an attempt ends after this time without data; 0: 30 seconds

	// Sleep waits for d. If ctx ends first, it returns ctx's error. Nil means a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Report is called after data were written, after an attempt failed, and before a wait, by the
	// goroutine of Fetch. Nil means no callback.
	Report func(Event)

	// after calls f once d has passed since the last reset of the timer that it returns. Nil means
	// time.AfterFunc.
	after func(d time.Duration, f func()) timer
}

type timer interface {
	Reset(d time.Duration) bool
	Stop() bool
}

const (
	defaultAttempts = 5
	defaultBackoff  = time.Second
	defaultStall    = 30 * time.Second
	maxBackoff      = time.Minute
	lockPoll        = 100 * time.Millisecond
)

// Fetch downloads the given files to dir, one after the other, and creates dir if necessary. It
// resumes partial downloads. A file that exists and has the right checksum causes no request; one
// with another size or checksum is not replaced, but an error.
//
// After a temporary failure of a mirror, Fetch tries it again after the others. After a permanent
// one (status 404, another size, wrong bytes), it does not. An error names the file, the last
// failure of each mirror, and the number of bytes kept. It wraps ctx's error if that ended the
// download, and [ErrChecksum] if a mirror's bytes were wrong and therefore deleted. A file
// whose checksum is unknown starts anew in each call, and with each other mirror.
func (f *Fetcher) Fetch(ctx context.Context, dir string, files ...File) error {
	seen := map[string]bool{}
	for _, file := range files {
		if err := file.check(); err != nil {
			return err
		}
		if seen[file.Name] {
			return fmt.Errorf("data: fetch: two files have the name %q", file.Name)
		}
		seen[file.Name] = true
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("data: fetch: %w", err)
	}
	for _, file := range files {
		if err := f.fetch(ctx, dir, file); err != nil {
			return fmt.Errorf("data: fetch %s: %w", file.Name, err)
		}
	}
	return nil
}

// check returns an error if a field is invalid.
func (file File) check() error {
	sum, err := hex.DecodeString(file.SHA256)
	switch {
	case file.Name == "" || file.Name != filepath.Base(file.Name) || !filepath.IsLocal(file.Name) || file.Name == ".":
		return fmt.Errorf("data: fetch: %q is not a plain file name", file.Name)
	case err != nil || len(sum) != 32 && file.SHA256 != "":
		return fmt.Errorf("data: fetch %s: %q is not a SHA-256 of 64 hex digits", file.Name, file.SHA256)
	case file.Size <= 0:
		return fmt.Errorf("data: fetch %s: size %d, must be positive", file.Name, file.Size)
	case len(file.URLs) == 0:
		return fmt.Errorf("data: fetch %s: no URL", file.Name)
	}
	for _, u := range file.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			return fmt.Errorf("data: fetch %s: %q is not a URL of http or https", file.Name, u)
		}
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, dir string, file File) error {
	target := filepath.Join(dir, file.Name)
	// Check before locking, so that a complete read-only folder suffices.
	if good, err := file.isGood(ctx, target); good || err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, "."+file.Name+".lock"), flock.SetPermissions(0o666))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("locking it: %w", err)
	}
	defer lock.Close()
	// Another caller may have fetched the file during the wait.
	if good, err := file.isGood(ctx, target); good || err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("%s is another file, by its size or checksum: remove it, or name another folder", target)
	}
	d := download{Fetcher: f, file: file, part: target + ".part"}
	if err := d.run(ctx); err != nil {
		return err
	}
	if err := os.Rename(d.part, target); err != nil {
		return fmt.Errorf("%w (the complete file is %s)", err, d.part)
	}
	return nil
}

// isGood reports whether path is the file. It returns false without an error if path is absent or
// has another size or checksum.
func (file File) isGood(ctx context.Context, path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is not a regular file: remove it", path)
	case info.Size() != file.Size:
		return false, nil
	}
	sum, err := FileSHA256Context(ctx, path)
	if err != nil {
		return false, err
	}
	return file.matches(sum), nil
}

func (f *Fetcher) client() *http.Client {
	if f.Client == nil {
		return new(http.Client)
	}
	return f.Client
}

func (f *Fetcher) sleep(ctx context.Context, d time.Duration) error {
	if f.Sleep != nil {
		return f.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (f *Fetcher) timer(d time.Duration, expire func()) timer {
	if f.after != nil {
		return f.after(d, expire)
	}
	return time.AfterFunc(d, expire)
}

func (f *Fetcher) report(e Event) {
	if f.Report != nil {
		f.Report(e)
	}
}
