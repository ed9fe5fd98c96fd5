package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// content is the file that the tests fetch, large enough for several writes.
var content = bytes.Repeat([]byte("meta flow maps "), 10000)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func fileAt(urls ...string) File {
	return File{Name: "weights.bin", SHA256: sumOf(content), Size: int64(len(content)), URLs: urls}
}

// serve answers each request by the next handler, and all further ones by the last. ranges returns
// the requested ranges.
func serve(t *testing.T, handlers ...http.HandlerFunc) (url string, ranges func() []string) {
	t.Helper()
	var mu sync.Mutex
	var log []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(len(log), len(handlers)-1)]
		log = append(log, r.Header.Get("Range"))
		mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/weights.bin", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(log)
	}
}

// good serves b as a file server does, including ranges.
func good(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "weights.bin", time.Time{}, bytes.NewReader(b))
	}
}

// status answers with a status only.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

// noRange serves the full content, whatever the requested range.
func noRange(w http.ResponseWriter, _ *http.Request) { w.Write(content) }

// chunked serves b without announcing its length.
func chunked(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.Write(b)
	}
}

// cut serves content but ends after n bytes.
func cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		good(content)(&cutWriter{w, n}, r)
		panic(http.ErrAbortHandler)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	w.left -= n
	w.ResponseWriter.(http.Flusher).Flush()
	if err == nil && n < len(p) {
		err = errors.New("cut")
	}
	return n, err
}

// stall serves n bytes and then nothing until the client disconnects.
func stall(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		good(content)(&cutWriter{w, n}, r)
		<-r.Context().Done()
	}
}

// clock is the time of a fetcher. Its sleep takes no time and records the waits, and its timer
// expires only when the clock is advanced.
type clock struct {
	waits []time.Duration

	mu            sync.Mutex
	now, deadline time.Duration
	expire        func()
	expired       int
}

func (c *clock) fetcher() *Fetcher { return &Fetcher{Sleep: c.sleep, after: c.after} }

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.waits = append(c.waits, d)
	return ctx.Err()
}

func (c *clock) after(d time.Duration, f func()) timer {
	c.Reset(d)
	c.expire = f
	return c
}

func (c *clock) Reset(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = c.now + d
	return true
}

func (c *clock) Stop() bool { return true }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now += d; c.now >= c.deadline {
		c.expired++
		c.expire()
	}
}

func part(dir string) string { return filepath.Join(dir, "weights.bin.part") }

// wantFile fails the test unless dir has the complete file and no partial one.
func wantFile(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "weights.bin"))
	if err != nil || !bytes.Equal(b, content) {
		t.Errorf("file of %d bytes, %v, want the content of %d bytes", len(b), err, len(content))
	}
	if _, err := os.Stat(part(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the .part remains: %v", err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// Each case is a mirror with one kind of failure that finally succeeds.
func TestFetch(t *testing.T) {
	rest := func(n int) string { return fmt.Sprintf("bytes=%d-", n) }
	half := len(content) / 2
	wrong := bytes.Repeat([]byte("x"), len(content))
	for _, tc := range []struct {
		name     string
		kept     []byte // content of the .part before
		handlers []http.HandlerFunc
		ranges   []string // requested, in order
		waits    int
		stalls   bool // whether the first handler stalls, once kept and stalled bytes have arrived
		stalled  int64
	}{
		{name: "at once", handlers: []http.HandlerFunc{good(content)}, ranges: []string{""}},
		{name: "of unknown length", handlers: []http.HandlerFunc{chunked(content)}, ranges: []string{""}},
		{name: "with more after it", handlers: []http.HandlerFunc{chunked(append(slices.Clone(content), wrong...))},
			ranges: []string{""}},
		{name: "resumed", kept: content[:half], handlers: []http.HandlerFunc{good(content)},
			ranges: []string{rest(half)}},
		{name: "kept in full", kept: content},
		{name: "kept is too long", kept: append(slices.Clone(content), 0), handlers: []http.HandlerFunc{good(content)},
			ranges: []string{""}},
		{name: "kept is wrong", kept: wrong[:half], handlers: []http.HandlerFunc{good(content)},
			ranges: []string{rest(half), ""}},
		{name: "kept in full and wrong", kept: wrong, handlers: []http.HandlerFunc{good(content)},
			ranges: []string{""}},
		{name: "range ignored", kept: content[:half], handlers: []http.HandlerFunc{noRange},
			ranges: []string{rest(half)}},
		{name: "range refused", kept: content[:half], handlers: []http.HandlerFunc{status(416), good(content)},
			ranges: []string{rest(half), ""}},
		{name: "overloaded", handlers: []http.HandlerFunc{status(503), status(429), status(500), good(content)},
			ranges: []string{"", "", "", ""}, waits: 3},
		{name: "overloaded, resumed", kept: content[:half], handlers: []http.HandlerFunc{status(503), good(content)},
			ranges: []string{rest(half), rest(half)}, waits: 1},
		{name: "cut off, many times", handlers: append(slices.Repeat([]http.HandlerFunc{cut(10000)}, 6), good(content)),
			ranges: []string{"", rest(10000), rest(20000), rest(30000), rest(40000), rest(50000), rest(60000)},
			waits:  6},
		{name: "stalls", handlers: []http.HandlerFunc{stall(10000), good(content)},
			ranges: []string{"", rest(10000)}, waits: 1, stalls: true, stalled: 10000},
		{name: "stalls before the first byte", handlers: []http.HandlerFunc{stall(0), good(content)},
			ranges: []string{"", ""}, waits: 1, stalls: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "folder")
			if tc.kept != nil {
				if err := os.MkdirAll(dir, 0o777); err != nil {
					t.Fatal(err)
				}
				write(t, part(dir), tc.kept)
			}
			c := new(clock)
			if first := tc.handlers; tc.stalls && tc.stalled == 0 {
				tc.handlers = append([]http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
					c.advance(defaultStall)
					first[0](w, r)
				}}, first[1:]...)
			}
			url, ranges := serve(t, tc.handlers...)
			f := c.fetcher()
			f.Report = func(e Event) {
				if tc.stalls && e.Err == nil && e.Wait == 0 && e.Done == tc.stalled {
					c.advance(defaultStall)
				}
			}
			if err := f.Fetch(t.Context(), dir, fileAt(url)); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir)
			if got := ranges(); !slices.Equal(got, tc.ranges) {
				t.Errorf("requested %q, want %q", got, tc.ranges)
			}
			if len(c.waits) != tc.waits {
				t.Errorf("waits %v, want %d", c.waits, tc.waits)
			}
			// An existing file is checked and not fetched again.
			if err := f.Fetch(t.Context(), dir, fileAt(url)); err != nil || len(ranges()) != len(tc.ranges) {
				t.Errorf("fetched again: %v, %q", err, ranges())
			}
		})
	}
}

// Each case is a mirror that permanently fails to serve the file.
func TestFetchNextMirror(t *testing.T) {
	half := len(content) / 2
	for _, tc := range []struct {
		name string
		kept []byte
		bad  http.HandlerFunc
	}{
		{"not found", nil, status(404)},
		{"forbidden, resumed", content[:half], status(403)},
		{"another size", nil, good(content[:half+1])},
		{"another size, resumed", content[:half], good(content[:half+1])},
		{"shorter than what is kept", content[:half], good(content[:half-1])},
		{"a page instead", content[:half], good([]byte("<html>please log in</html>"))},
		{"another range", content[:half], func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=1-")
			good(content)(w, r)
		}},
		{"a range that was not requested", nil, status(206)},
		{"no content", nil, status(204)},
		{"wrong bytes", nil, good(bytes.Repeat([]byte("x"), len(content)))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.kept != nil {
				write(t, part(dir), tc.kept)
			}
			bad, badRanges := serve(t, tc.bad)
			fine, fineRanges := serve(t, status(503), good(content))
			f := new(clock).fetcher()
			if err := f.Fetch(t.Context(), dir, fileAt(bad, fine)); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir)
			if n := len(badRanges()); n != 1 {
				t.Errorf("%d requests to the bad mirror, want 1", n)
			}
			want := ""
			if tc.kept != nil { // the bad mirror must not discard what was kept
				want = fmt.Sprintf("bytes=%d-", half)
			}
			if got := fineRanges(); !slices.Equal(got, []string{want, want}) {
				t.Errorf("requested %q from the good mirror, want twice %q", got, want)
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	wrong := bytes.Repeat([]byte("x"), len(content))
	dead := httptest.NewServer(nil)
	dead.Close()
	for _, tc := range []struct {
		name     string
		handlers []http.HandlerFunc
		requests int
		want     string
		is       error
		kept     int
	}{
		{"not found", []http.HandlerFunc{status(404)}, 1, "404 Not Found", nil, 0},
		{"wrong bytes", []http.HandlerFunc{good(wrong)}, 1, "weights.bin.part is deleted", ErrChecksum, 0},
		{"always overloaded", []http.HandlerFunc{status(503)}, 3, "503 Service Unavailable", nil, 0},
		{"cut off twice", []http.HandlerFunc{cut(5000), cut(0)}, 4, "5000 of 150000 bytes are kept", nil, 5000},
		{"a short page instead", []http.HandlerFunc{chunked([]byte("log in"))}, 4, "ended after 6 of 150000", nil, 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			url, ranges := serve(t, tc.handlers...)
			var failed int
			f := new(clock).fetcher()
			f.Attempts = 3
			f.Report = func(e Event) {
				if e.Err != nil {
					failed++
				}
			}
			err := f.Fetch(t.Context(), dir, fileAt(url, dead.URL))
			for _, want := range []string{"weights.bin", url, tc.want, dead.URL, "refused"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v is not %v", err, tc.is)
			}
			if got := len(ranges()); got != tc.requests {
				t.Errorf("%d requests, want %d", got, tc.requests)
			}
			if failed < tc.requests {
				t.Errorf("%d failures reported, want %d and those of the dead mirror", failed, tc.requests)
			}
			if _, err := os.Stat(filepath.Join(dir, "weights.bin")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file: %v, want none", err)
			}
			info, err := os.Stat(part(dir))
			if (err == nil) != (tc.kept > 0) || err == nil && info.Size() != int64(tc.kept) {
				t.Errorf("the .part: %v, %v, want %d bytes", info, err, tc.kept)
			}
		})
	}
}

// A file of the user with the same name is not replaced, whatever its size.
func TestFetchKeepsAnotherFile(t *testing.T) {
	for _, own := range [][]byte{[]byte("an older version"), bytes.Repeat([]byte("x"), len(content))} {
		url, ranges := serve(t, good(content))
		dir := t.TempDir()
		path := filepath.Join(dir, "weights.bin")
		write(t, path, own)
		err := new(Fetcher).Fetch(t.Context(), dir, fileAt(url))
		if err == nil || !strings.Contains(err.Error(), "weights.bin is another file") || len(ranges()) > 0 {
			t.Errorf("error %v, %d requests, want an error that the file is another one", err, len(ranges()))
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, own) {
			t.Errorf("the file is now %.20q, %v", b, err)
		}
	}
}

// An attempt ends after a time without data, not after a total time. This holds for HTTP/2 too,
// whose client reports less about why a request ended. Here 300 ms pass before each piece of data,
// and 400 ms where the first attempt stalls.
func TestFetchStall(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("request by %s, want %s", r.Proto, protocol)
				}
				if requests.Add(1) == 1 {
					stall(100)(w, r)
				}
				chunked(content)(w, r)
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			defer server.Close()
			var failures []error
			c := new(clock)
			f := c.fetcher()
			f.Client, f.Stall = server.Client(), 400*time.Millisecond
			f.Report = func(e Event) {
				switch {
				case e.Err != nil:
					failures = append(failures, e.Err)
				case e.Wait > 0:
				case e.Done == 100:
					c.advance(400 * time.Millisecond)
				default:
					c.advance(300 * time.Millisecond)
				}
			}
			dir := t.TempDir()
			if err := f.Fetch(t.Context(), dir, fileAt(server.URL)); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir)
			if len(failures) != 1 || requests.Load() != 2 ||
				!strings.HasSuffix(failures[0].Error(), "no data for 400ms") {
				t.Errorf("%d requests, failures %v, want 2 and one failure with \"no data\"", requests.Load(), failures)
			}
			if c.now < 5*300*time.Millisecond || c.expired != 1 {
				t.Errorf("%d attempts expired in %v, want one in more than the 400 ms without data", c.expired, c.now)
			}
		})
	}
}

func TestFetchBackoff(t *testing.T) {
	url, _ := serve(t, status(503), status(503), status(503), cut(5000), status(503), status(503), good(content))
	c := new(clock)
	f := c.fetcher()
	f.Backoff = 20 * time.Second
	if err := f.Fetch(t.Context(), t.TempDir(), fileAt(url)); err != nil {
		t.Fatal(err)
	}
	// In seconds: doubled, at most a minute, reset by progress.
	want := []time.Duration{20, 40, 60, 20, 40, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(c.waits, want) {
		t.Errorf("waits %v, want %v", c.waits, want)
	}
}

func TestFetchProgress(t *testing.T) {
	dir := t.TempDir()
	half := int64(len(content) / 2)
	write(t, part(dir), content[:half])
	url, _ := serve(t, status(503), good(content))
	var events []Event
	f := new(clock).fetcher()
	f.Backoff, f.Report = time.Hour, func(e Event) { events = append(events, e) }
	if err := f.Fetch(t.Context(), dir, fileAt(url)); err != nil {
		t.Fatal(err)
	}
	if len(events) < 4 || events[0].Err == nil || events[1].Wait != time.Hour {
		t.Fatalf("events %+v, want a failure, a wait, and bytes", events)
	}
	done := half
	for i, e := range events {
		if e.File != "weights.bin" || e.Total != int64(len(content)) {
			t.Errorf("event %d: %+v", i, e)
		}
		if i < 2 {
			if e.Done != half {
				t.Errorf("event %d has %d bytes done, want the %d kept", i, e.Done, half)
			}
		} else if e.Err != nil || e.Wait != 0 || e.Done <= done {
			t.Errorf("event %d: %+v after %d bytes", i, e, done)
		} else {
			done = e.Done
		}
	}
	if done != int64(len(content)) {
		t.Errorf("the last event has %d bytes", done)
	}
}

// A canceled call keeps its data, and the next one requests the rest.
func TestFetchCancel(t *testing.T) {
	dir := t.TempDir()
	url, ranges := serve(t, stall(50000), good(content))
	ctx, cancel := context.WithCancel(t.Context())
	f := new(clock).fetcher()
	f.Report = func(e Event) {
		if e.Err != nil || e.Wait > 0 {
			t.Errorf("event %+v after the context was canceled", e)
		}
		if e.Done == 50000 {
			cancel()
		}
	}
	err := f.Fetch(ctx, dir, fileAt(url, url))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "50000 of 150000 bytes are kept") {
		t.Errorf("error %v, want context.Canceled and the number of bytes kept", err)
	}
	if b, err := os.ReadFile(part(dir)); err != nil || !bytes.Equal(b, content[:50000]) {
		t.Fatalf("kept %d bytes, %v", len(b), err)
	}
	if err := f.Fetch(t.Context(), dir, fileAt(url)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir)
	if got := ranges(); !slices.Equal(got, []string{"", "bytes=50000-"}) {
		t.Errorf("requested %q, want the rest", got)
	}
}

// The wait between attempts ends with the context. Here it is an hour on the real clock.
func TestFetchCancelWait(t *testing.T) {
	url, _ := serve(t, status(503))
	ctx, cancel := context.WithCancel(t.Context())
	f := &Fetcher{Backoff: time.Hour, Report: func(e Event) {
		if e.Wait > 0 {
			cancel()
		}
	}}
	if err := f.Fetch(ctx, t.TempDir(), fileAt(url)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// Concurrent callers share one download, and all get the file.
func TestFetchConcurrently(t *testing.T) {
	dir := t.TempDir()
	var requests, writers atomic.Int32
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if writers.Add(1) > 1 {
			t.Error("two callers write at once")
		}
		defer writers.Add(-1)
		good(content)(w, r)
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := new(clock).fetcher().Fetch(t.Context(), dir, fileAt(url)); err != nil {
				t.Error(err)
			}
			wantFile(t, dir)
		})
	}
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// endsWhenWaitedFor is a context that ends as soon as a caller waits for its end.
type endsWhenWaitedFor struct {
	context.Context
	cancel context.CancelFunc
	waited bool
}

func (e *endsWhenWaitedFor) Done() <-chan struct{} {
	e.waited = true
	e.cancel()
	return e.Context.Done()
}

// A caller that waits for another one stops with its own context.
func TestFetchCancelWhileLocked(t *testing.T) {
	dir := t.TempDir()
	arrived := make(chan struct{})
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		stall(100)(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- new(clock).fetcher().Fetch(ctx, dir, fileAt(url)) }()
	<-arrived
	late := &endsWhenWaitedFor{}
	late.Context, late.cancel = context.WithCancel(t.Context())
	if err := new(clock).fetcher().Fetch(late, dir, fileAt(url)); !errors.Is(err, context.Canceled) || !late.waited {
		t.Errorf("second caller: error %v, waited %t, want context.Canceled while it waits", err, late.waited)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first caller: error %v, want context.Canceled", err)
	}
}

// After an error of this machine the other mirrors are not tried.
func TestFetchLocalError(t *testing.T) {
	url, ranges := serve(t, good(content))
	for name, path := range map[string]func(dir string) string{
		"target is a folder": func(dir string) string { return filepath.Join(dir, "weights.bin") },
		"part is a folder":   part,
	} {
		dir := t.TempDir()
		if err := os.Mkdir(path(dir), 0o777); err != nil {
			t.Fatal(err)
		}
		before := len(ranges())
		c := new(clock)
		err := (&Fetcher{Sleep: c.sleep}).Fetch(t.Context(), dir, fileAt(url, url))
		if err == nil || !strings.Contains(err.Error(), path(dir)) || len(c.waits) > 0 || len(ranges()) > before+1 {
			t.Errorf("%s: error %v after %d requests", name, err, len(ranges())-before)
		}
	}
}

func TestFetchChecksFiles(t *testing.T) {
	ok := fileAt("http://localhost/x")
	for want, change := range map[string]func(*File){
		`"" is not a plain`:                func(f *File) { f.Name = "" },
		`"." is not a plain`:               func(f *File) { f.Name = "." },
		`".." is not a plain`:              func(f *File) { f.Name = ".." },
		`"../x" is not a plain`:            func(f *File) { f.Name = "../x" },
		`"/etc/x" is not a plain`:          func(f *File) { f.Name = "/etc/x" },
		`"beef" is not a SHA-256`:          func(f *File) { f.SHA256 = "beef" },
		"is not a SHA-256":                 func(f *File) { f.SHA256 = strings.Repeat("x", 64) },
		"size 0":                           func(f *File) { f.Size = 0 },
		"no URL":                           func(f *File) { f.URLs = nil },
		`"ftp://x/y" is not a URL`:         func(f *File) { f.URLs = []string{"http://x/y", "ftp://x/y"} },
		`"http://a b/" is not a URL`:       func(f *File) { f.URLs = []string{"http://a b/"} },
		`two files have the name "weights`: func(*File) {},
	} {
		bad := ok
		change(&bad)
		dir := filepath.Join(t.TempDir(), "new")
		if err := new(Fetcher).Fetch(t.Context(), dir, ok, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: the folder was created before the files were checked", want)
		}
	}
}

// A complete read-only folder suffices.
func TestFetchReadOnly(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "weights.bin"), content)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o777) })
	if err := new(Fetcher).Fetch(t.Context(), dir, fileAt("http://localhost/x")); err != nil {
		t.Error(err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("the folder has %v, want only the file", names)
	}
}

// Look asks the mirrors in turn, and takes the size and the checksum that a server declares.
func TestLook(t *testing.T) {
	linked := func(size, tag string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Linked-Size", size)
			w.Header().Set("X-Linked-Etag", tag)
			good(content)(w, r)
		}
	}
	sum := sumOf(content)
	size := int64(len(content))
	for name, tc := range map[string]struct {
		handler   http.HandlerFunc
		know      File
		size      int64
		sum, fail string
	}{
		"a plain server":      {good(content), File{}, size, "", ""},
		"a linked file":       {linked("7", `"`+strings.ToUpper(sum)+`"`), File{}, 7, sum, ""},
		"another tag":         {linked("x", `"beef"`), File{}, size, "", ""},
		"a known checksum":    {linked("7", `"`+sum+`"`), File{SHA256: strings.Repeat("0", 64)}, 7, strings.Repeat("0", 64), ""},
		"another size":        {good(content), File{Size: 5}, 0, "", "bytes, want 5"},
		"no size":             {linked("0", ""), File{}, 0, "", "does not say its size"},
		"a status":            {status(http.StatusForbidden), File{}, 0, "", "403"},
		"an endless redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, File{}, 0, "", "redirects"},
	} {
		gone, _ := serve(t, status(http.StatusNotFound))
		url, _ := serve(t, tc.handler)
		tc.know.Name, tc.know.URLs = "weights.bin", []string{gone, url}
		got, err := new(Fetcher).Look(t.Context(), tc.know)
		if tc.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fail) || !strings.Contains(err.Error(), "404") ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %v, want 404 and %q", name, err, tc.fail)
			}
			continue
		}
		if err != nil || got.Size != tc.size || got.SHA256 != tc.sum {
			t.Errorf("%s: %d bytes, %q, %v; want %d, %q", name, got.Size, got.SHA256, err, tc.size, tc.sum)
		}
	}
}

// A file whose checksum is unknown does not continue a partial download of an earlier call or of
// another mirror, which may be one of another file, but one of the same mirror.
func TestFetchWithoutChecksum(t *testing.T) {
	for mirrors, of := range map[string]http.HandlerFunc{"one": nil, "two": cut(7000), "one dead": status(503)} {
		url, ranges := serve(t, cut(5000), good(content))
		urls, want := []string{url}, []string{"", "bytes=5000-"}
		otherRanges := func() []string { return nil }
		if of != nil {
			var other string
			other, otherRanges = serve(t, of)
			urls = []string{other, url}
		}
		if mirrors == "two" {
			want = []string{"", ""}
		}
		file, dir := fileAt(urls...), t.TempDir()
		file.SHA256 = ""
		path := filepath.Join(dir, file.Name)
		write(t, path+".part", bytes.Repeat([]byte("x"), 1000))
		for range 2 { // the second finds it
			if err := new(clock).fetcher().Fetch(t.Context(), dir, file); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content) || !slices.Equal(ranges(), want) ||
			slices.ContainsFunc(otherRanges(), func(r string) bool { return r != "" }) {
			t.Errorf("%s: %d bytes, ranges %q and %q, %v", mirrors, len(got), ranges(), otherRanges(), err)
		}
	}
}
