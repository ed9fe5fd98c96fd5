package data

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// download is the download of one file to part.
type download struct {
	*Fetcher
	file File
	part string
	from string // the mirror of what part has, if it is of this call
}

// A mirrorError is an error that would recur if the same mirror were tried again.
type mirrorError struct{ error }

func (e mirrorError) Unwrap() error { return e.error }

// A localError is an error of this machine, such as a full disk, that would recur with any mirror.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// run leaves the complete, verified file in d.part, or returns why it could not.
func (d *download) run(ctx context.Context) error {
	// What is kept is not a part of this file, or may be one of another file.
	if d.kept() > d.file.Size || d.kept() > 0 && d.file.SHA256 == "" {
		if err := os.Remove(d.part); err != nil {
			return err
		}
	}
	attempts, first := cmp.Or(d.Attempts, defaultAttempts), cmp.Or(d.Backoff, defaultBackoff)
	failures := make([]error, len(d.file.URLs))
	wait, furthest := first, d.kept()
	for round := 1; ; round++ {
		for i, u := range d.file.URLs {
			if isA[mirrorError](failures[i]) {
				continue
			}
			err := d.attempt(ctx, u)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return d.stopped(ctx.Err())
			case isA[localError](err):
				return err
			}
			failures[i] = fmt.Errorf("%s: %w", u, err)
			d.report(Event{File: d.file.Name, Done: d.kept(), Total: d.file.Size, Err: failures[i]})
		}
		// Progress resets the attempts. It must exceed all earlier progress, or a mirror whose
		// bytes are discarded each time could keep this loop running forever.
		if kept := d.kept(); kept > furthest {
			round, wait, furthest = 0, first, kept
		}
		if round >= attempts || !slices.ContainsFunc(failures, func(err error) bool { return !isA[mirrorError](err) }) {
			return d.exhausted(failures)
		}
		d.report(Event{File: d.file.Name, Done: d.kept(), Total: d.file.Size, Wait: wait})
		if err := d.sleep(ctx, wait); err != nil {
			return d.stopped(err)
		}
		wait = min(2*wait, maxBackoff)
	}
}

// attempt resumes from the kept bytes. If they prove wrong, it starts again.
func (d *download) attempt(ctx context.Context, url string) error {
	for {
		resumed, err := d.complete(ctx, url)
		if err != nil {
			return err
		}
		err = d.verify()
		switch {
		case err == nil || isA[localError](err):
			return err
		case !resumed:
			return mirrorError{err}
		}
		d.report(Event{File: d.file.Name, Total: d.file.Size, Err: err})
	}
}

// complete extends d.part to the file's size, and reports whether some of it existed before.
func (d *download) complete(ctx context.Context, url string) (resumed bool, err error) {
	offset := d.kept()
	if offset == d.file.Size {
		return true, nil
	}
	if d.file.SHA256 == "" && url != d.from { // which may have other bytes
		offset = 0
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := cmp.Or(d.Stall, defaultStall)
	watchdog := d.timer(stall, func() { cancel(fmt.Errorf("no data for %v", stall)) })
	defer watchdog.Stop()

	resp, offset, err := d.open(ctx, url, offset)
	if err != nil {
		return false, orCause(ctx, err)
	}
	defer resp.Body.Close()
	err = d.save(resp.Body, offset, func() {
		d.from = url
		watchdog.Reset(stall)
	})
	return offset > 0, orCause(ctx, err)
}

// orCause returns, instead of err, the cause of ctx's cancellation, if that happened.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// open requests the file from offset on. It returns a response whose body starts at from.
func (d *download) open(ctx context.Context, rawURL string, offset int64) (resp *http.Response, from int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, 0, mirrorError{err}
	}
	req.Header.Set("Accept-Encoding", "identity") // sizes and checksum are of the file itself
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err = d.client().Do(req)
	if err != nil {
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err // run names the URL
		}
		return nil, 0, err
	}
	err = d.checkResponse(resp, offset)
	switch {
	case err != nil:
		resp.Body.Close()
		return nil, 0, err
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		resp.Body.Close()
		return d.open(ctx, rawURL, 0) // without Range; keeps d.part until data arrive
	case resp.StatusCode == http.StatusOK:
		return resp, 0, nil // the whole file, even if a part was requested
	}
	return resp, offset, nil
}

// checkResponse accepts the whole file, its part from offset on, and the answer that there is no
// such part. It returns an error for anything else.
func (d *download) checkResponse(resp *http.Response, offset int64) error {
	size := int64(-1) // of the mirror's copy, -1 if unknown
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		size = resp.ContentLength
	case code == http.StatusPartialContent && offset > 0:
		var start int64
		header := resp.Header.Get("Content-Range")
		if start, size = parseContentRange(header); start != offset {
			return mirrorError{fmt.Errorf("requested bytes from %d on, got %q", offset, header)}
		}
	case code == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		_, size = parseContentRange(resp.Header.Get("Content-Range"))
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout,
		code == http.StatusTooEarly:
		return fmt.Errorf("status %s", resp.Status)
	default:
		return mirrorError{fmt.Errorf("status %s", resp.Status)}
	}
	if size >= 0 && size != d.file.Size {
		return mirrorError{fmt.Errorf("its copy has %d bytes, want %d", size, d.file.Size)}
	}
	return nil
}

// parseContentRange returns the first byte and the total size from "bytes 5-9/10", -1 if absent.
func parseContentRange(header string) (start, size int64) {
	spec, ok := strings.CutPrefix(header, "bytes ")
	if !ok {
		return -1, -1
	}
	span, whole, _ := strings.Cut(spec, "/")
	first, _, _ := strings.Cut(span, "-")
	number := func(s string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	return number(first), number(whole)
}

// save writes body, the file from offset on, to d.part. It calls alive whenever data arrive.
func (d *download) save(body io.Reader, offset int64, alive func()) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if offset == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(d.part, flags, 0o666)
	if err != nil {
		return localError{err}
	}
	defer f.Close()
	done := offset
	// Read at most the file's size; the checksum decides whether these bytes are right.
	_, err = io.CopyN(writerFunc(func(p []byte) (int, error) {
		n, err := f.Write(p)
		if err != nil {
			return n, localError{err}
		}
		done += int64(n)
		d.report(Event{File: d.file.Name, Done: done, Total: d.file.Size})
		alive()
		return n, nil
	}), body, d.file.Size-offset)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection ended after %d of %d bytes", done, d.file.Size)
	case err != nil:
		return err
	}
	if err := f.Sync(); err != nil {
		return localError{err}
	}
	return nil
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// verify checks d.part and deletes it if its checksum is wrong.
func (d *download) verify() error {
	sum, err := FileSHA256(d.part)
	if err != nil {
		return localError{err}
	}
	if d.file.matches(sum) {
		return nil
	}
	if err := os.Remove(d.part); err != nil {
		return localError{err}
	}
	return fmt.Errorf("%w: got %s, want %s; %s is deleted", ErrChecksum, sum, strings.ToLower(d.file.SHA256), d.part)
}

// matches reports whether a checksum is that of the file, or that of the file is unknown.
func (file File) matches(sum string) bool {
	return file.SHA256 == "" || strings.EqualFold(sum, file.SHA256)
}

// FileSHA256 returns the SHA-256 of the file at path in hex.
func FileSHA256(path string) (string, error) { return FileSHA256Context(context.Background(), path) }

// FileSHA256Context is [FileSHA256] until ctx ends, which is an error.
func FileSHA256Context(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, f}); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}

// kept returns the number of bytes left by earlier attempts.
func (d *download) kept() int64 {
	info, err := os.Stat(d.part)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (d *download) stopped(err error) error { return fmt.Errorf("stopped%s: %w", d.hint(), err) }

func (d *download) exhausted(failures []error) error {
	err := failures[0]
	for _, e := range failures[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return fmt.Errorf("all mirrors failed%s: %w", d.hint(), err)
}

// hint describes what is kept for a later call.
func (d *download) hint() string {
	kept := d.kept()
	if kept == 0 || d.file.SHA256 == "" { // the next call starts anew
		return ""
	}
	return fmt.Sprintf(" (%d of %d bytes are kept in %s; call again to resume)", kept, d.file.Size, d.part)
}
