package pretrained_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// hub serves a file of the repository a/b as the Hugging Face Hub does: it redirects to another
// path and declares size and checksum, if it is given one. requests counts all requests.
func hub(t *testing.T, content *string, sum string) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		switch r.URL.Path {
		case "/a/b/resolve/main/f.pt":
			if sum != "" {
				w.Header().Set("X-Linked-Etag", `"`+sum+`"`)
				w.Header().Set("X-Linked-Size", "7")
			}
			http.Redirect(w, r, "/store", http.StatusFound)
		case "/store":
			w.Header().Set("ETag", `"another"`)
			http.ServeContent(w, r, "f.pt", time.Time{}, strings.NewReader(*content))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/", requests
}

func fetcher() data.Fetcher {
	return data.Fetcher{Attempts: 1, Sleep: func(context.Context, time.Duration) error { return nil }}
}

var released = pretrained.Release{Name: "x", Repository: "a/b", Revision: "main", File: "f.pt"}

// A file whose checksum is not published is compared with what the server declares, and later ones
// with what the first one was.
func TestGetWithoutChecksum(t *testing.T) {
	for _, declared := range []bool{true, false} {
		content, sum, want := "weights", "", pretrained.Unknown
		if declared {
			sum, want = sumOf(content), pretrained.Declared
		}
		url, requests := hub(t, &content, sum)
		dir := t.TempDir()
		get := func(offline bool) (pretrained.Obtained, error) {
			return released.Get(t.Context(), fetcher(), dir, offline, url)
		}
		got, err := get(false)
		path := filepath.Join(dir, "f.pt")
		if err != nil || got != (pretrained.Obtained{Path: path, Size: 7, SHA256: sumOf(content), Compared: want}) {
			t.Fatalf("declared %t: %+v, %v", declared, got, err)
		}
		record, err := os.ReadFile(path + ".sha256")
		if err != nil || string(record) != sumOf(content)+"  f.pt\n" {
			t.Errorf("the record is %q, %v", record, err)
		}
		first := requests.Load()
		for _, offline := range []bool{false, true} {
			if got, err = get(offline); err != nil || got.Compared != pretrained.Recorded || requests.Load() != first {
				t.Errorf("a file that is there: %+v, %v, %d requests", got, err, requests.Load()-first)
			}
		}
		// Another file of the same size on the server is refused, by the record.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got, err = get(false); err != nil || got.Compared != pretrained.Recorded {
			t.Errorf("the same file again: %+v, %v", got, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		content = "weighty"
		if declared {
			other, _ := hub(t, &content, sumOf(content))
			_, err = released.Get(t.Context(), fetcher(), dir, false, other)
		} else {
			_, err = get(false)
		}
		if err == nil || !strings.Contains(err.Error(), sumOf("weights")) || !strings.Contains(err.Error(), sumOf("weighty")) {
			t.Errorf("declared %t: another file: %v", declared, err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("another file is kept: %v", err)
		}
	}
}

func TestGetErrors(t *testing.T) {
	content := "weights"
	url, requests := hub(t, &content, sumOf("declared"))
	published := released
	published.SHA256, published.Size = sumOf("weights"), 7
	wrong := published
	wrong.SHA256 = sumOf("others")
	long := released
	long.Size = 8
	missing := released
	missing.Repository = "a/c"
	empty, damaged := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"f.pt": "damaged", "f.pt.sha256": "no sum"} {
		if err := os.WriteFile(filepath.Join(damaged, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		release  pretrained.Release
		dir      string
		offline  bool
		messages []string
	}{
		"offline":               {published, empty, true, []string{"downloads are off", "resolve/main/f.pt", filepath.Join(empty, "f.pt")}},
		"a published checksum":  {wrong, empty, false, []string{"wrong SHA-256", "elsewhere and put it at"}},
		"a declared checksum":   {released, empty, false, []string{"wrong SHA-256"}},
		"another size":          {long, empty, false, []string{"has 7 bytes, want 8"}},
		"not there":             {missing, empty, false, []string{"no mirror has it", "404", "elsewhere and put it at"}},
		"a damaged file":        {published, damaged, false, []string{"is another file, or damaged", sumOf("damaged"), sumOf("weights")}},
		"a record of something": {released, damaged, true, []string{"f.pt.sha256 has no SHA-256"}},
		"a file of another len": {long, damaged, true, []string{"has 7 bytes, x has 8"}},
	} {
		_, err := c.release.Get(t.Context(), fetcher(), c.dir, c.offline, url)
		for _, message := range c.messages {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: error %v, want %q", name, err, message)
			}
		}
	}
	if raw, err := os.ReadFile(filepath.Join(damaged, "f.pt")); err != nil || string(raw) != "damaged" {
		t.Errorf("a file is replaced: %q, %v", raw, err)
	}
	before := requests.Load()
	if got, err := published.Get(t.Context(), fetcher(), empty, false, url); err != nil || got.Compared != pretrained.Published ||
		requests.Load() == before {
		t.Errorf("a file with a published checksum: %+v, %v", got, err)
	}
}

// A checksum has 64 digits, and each release has a place, a kind and settings that it takes.
func TestReleases(t *testing.T) {
	var names []string
	for _, r := range pretrained.Releases() {
		names = append(names, r.Name)
		if found, err := pretrained.FindRelease(strings.ToUpper(r.Name)); err != nil || found.File != r.File {
			t.Errorf("%s: %+v, %v", r.Name, found, err)
		}
		if r.SHA256 != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(r.SHA256) || (r.SHA256 != "" && r.Size == 0) {
			t.Errorf("%s has the checksum %q of %d bytes", r.Name, r.SHA256, r.Size)
		}
		if r.About == "" || (r.Kind == "") != (r.Folder != "") || r.Kind != "" && !slices.Contains(pretrained.Kinds(), r.Kind) || !strings.HasPrefix(r.Page, "https://") {
			t.Errorf("%s: %+v", r.Name, r)
		}
		want := "https://x.org/y/" + r.Repository + "/resolve/" + r.Revision + "/" + r.File
		if r.Folder != "" {
			want = "https://x.org/y/" + r.Folder + "/" + r.File
		}
		if file := r.Download("https://x.org/y/", pretrained.Hub); file.URLs[0] != want || len(file.URLs) != 2 {
			t.Errorf("%s is at %v, want %s", r.Name, file.URLs, want)
		}
	}
	if found, err := pretrained.FindRelease("SiT-XL/2"); err != nil || found.Name != "sit-xl-2" {
		t.Errorf("SiT-XL/2: %+v, %v", found, err)
	}
	if _, err := pretrained.FindRelease("sit"); err == nil || !strings.Contains(err.Error(), strings.Join(names, ", ")) {
		t.Errorf("another name: %v", err)
	}
}
