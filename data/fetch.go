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

// ErrChecksum is what a [Fetcher]'s error wraps where bytes arrived in full and were not those that were asked for.
var ErrChecksum = errors.New("wrong SHA-256")

// File is a file to fetch: where from, and how to know that it is whole.
type File struct {
	Name   string   // a base name: what it is called in the folder it is fetched to
	SHA256 string   // in hex
	Size   int64    // in bytes, positive
	URLs   []string // mirrors, in the order in which to try them
}

// Event is a step of a download, for whoever shows its progress.
type Event struct {
	File        string        // the name of the file
	Done, Total int64         // bytes of it that are on disk, and its size
	Err         error         // why an attempt failed; nil while bytes arrive
	Wait        time.Duration // a wait begins, of so long, before the mirrors are tried again
}

// Fetcher downloads files over HTTP. The zero value is ready to use.
//
// A file arrives as NAME.part, is synced, checked, and only then renamed to NAME: a file under its own name is whole,
// and a good one is never replaced. What is interrupted, by a failure, a cancelled context or a kill, stays in
// NAME.part, where a later call goes on. Callers that fetch the same file at once, from several processes too, wait for
// each other by a lock on the empty file .NAME.lock, which stays.
type Fetcher struct {
	Client *http.Client // nil: one without an overall time limit; Stall is what ends a dead connection

	Attempts int           // how often in a row the mirrors are tried without getting any further; 0: 5
	Backoff  time.Duration // the first wait before they are tried again, doubled each time up to a minute; 0: one second
	Stall    time.Duration // an attempt ends when no byte has come for so long; 0: 30 seconds

	// Sleep waits for d, or until ctx is done, whose error it then returns. Nil: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Report is told of progress: when bytes have been written, when an attempt has failed, when a wait begins. It is
	// called by the goroutine that fetches. Nil: nobody is told.
	Report func(Event)
}

const (
	defaultAttempts = 5
	defaultBackoff  = time.Second
	defaultStall    = 30 * time.Second
	maxBackoff      = time.Minute
	lockPoll        = 100 * time.Millisecond
)

// Fetch makes sure that dir has the given files, one after the other; it makes dir where it is missing. A file that is
// there and has the right checksum costs no request.
//
// It resumes what an earlier call has left. A mirror that fails in passing is tried again after the others, one that
// cannot serve the file (status 404, another size, wrong bytes) is not. An error names the file, what each mirror's last
// failure was, and how much of it is kept. It wraps ctx's error where that ended it, [ErrChecksum] where a mirror's bytes
// were wrong: those are deleted.
func (f *Fetcher) Fetch(ctx context.Context, dir string, files ...File) error {
	seen := map[string]bool{}
	for _, file := range files {
		if err := file.check(); err != nil {
			return err
		}
		if seen[file.Name] {
			return fmt.Errorf("data: fetch: two files are named %q", file.Name)
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

// check returns an error that says what of the file's description cannot be.
func (file File) check() error {
	sum, err := hex.DecodeString(file.SHA256)
	switch {
	case file.Name == "" || file.Name != filepath.Base(file.Name) || !filepath.IsLocal(file.Name) || file.Name == ".":
		return fmt.Errorf("data: fetch: %q is not a plain file name", file.Name)
	case err != nil || len(sum) != 32:
		return fmt.Errorf("data: fetch %s: %q is not a SHA-256, 64 hex digits", file.Name, file.SHA256)
	case file.Size <= 0:
		return fmt.Errorf("data: fetch %s: size %d, want the file's size in bytes", file.Name, file.Size)
	case len(file.URLs) == 0:
		return fmt.Errorf("data: fetch %s: no URL to fetch it from", file.Name)
	}
	for _, u := range file.URLs {
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return fmt.Errorf("data: fetch %s: %q is not a URL of http or https", file.Name, u)
		}
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, dir string, file File) error {
	target := filepath.Join(dir, file.Name)
	// Before the lock, so that a folder that is complete and read-only will do.
	if good, err := file.isGood(target); good || err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, "."+file.Name+".lock"), flock.SetPermissions(0o666))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("lock it against other callers: %w", err)
	}
	defer lock.Close()
	// Another caller may have fetched it while this one waited.
	if good, err := file.isGood(target); good || err != nil {
		return err
	}
	d := download{Fetcher: f, file: file, part: target + ".part"}
	if err := d.run(ctx); err != nil {
		return err
	}
	if err := os.Rename(d.part, target); err != nil {
		return fmt.Errorf("%w (the whole file is in %s)", err, d.part)
	}
	return nil
}

// isGood reports whether path is the file: false without an error where there is none, or another.
func (file File) isGood(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is in the way: it is no regular file", path)
	case info.Size() != file.Size:
		return false, nil
	}
	sum, err := fileSHA256(path)
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

func (f *Fetcher) report(e Event) {
	if f.Report != nil {
		f.Report(e)
	}
}
