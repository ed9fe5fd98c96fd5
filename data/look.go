package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// sha256Tag is the entity tag of a large file on the Hugging Face Hub: its SHA-256.
var sha256Tag = regexp.MustCompile(`^"?([0-9a-fA-F]{64})"?$`)

// Look asks the mirrors, one after the other, for the size and the SHA-256 of a file. The first
// that has it answers. It fills in the Size, if it is zero, and the SHA256, if it is empty; a
// mirror in the form of the Hugging Face Hub knows it (the headers X-Linked-Size and
// X-Linked-ETag), others leave it empty. A checksum that the same server declares shows that a
// download is whole, not that the file is the one that others have. It is an error if no mirror has
// the file, or if it has another size.
func (f *Fetcher) Look(ctx context.Context, file File) (File, error) {
	var failure error
	for _, url := range file.URLs {
		size, sum, err := f.look(ctx, url)
		switch {
		case err != nil:
		case size <= 0:
			err = errors.New("the server does not say its size")
		case file.Size > 0 && size != file.Size:
			err = fmt.Errorf("its copy has %d bytes, want %d", size, file.Size)
		default:
			file.Size, file.SHA256 = size, cmp.Or(file.SHA256, sum)
			return file, file.check()
		}
		if err = fmt.Errorf("%s: %w", url, err); failure != nil {
			err = fmt.Errorf("%w; %w", failure, err)
		}
		failure = err
	}
	return file, fmt.Errorf("data: fetch %s: no mirror has it: %w", file.Name, failure)
}

// look returns the size and the SHA-256 that a server declares, 0 and empty if it does not.
func (f *Fetcher) look(ctx context.Context, url string) (size int64, sum string, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(f.Stall, defaultStall))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Accept-Encoding", "identity")
	size = -1
	linked := func(h http.Header) {
		if n, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64); err == nil {
			size = n
		}
		if tag := sha256Tag.FindStringSubmatch(h.Get("X-Linked-Etag")); tag != nil {
			sum = strings.ToLower(tag[1])
		}
	}
	client := *f.client()
	follow := client.CheckRedirect
	// The Hub redirects to another server; its own answer has the headers.
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		linked(req.Response.Header)
		if follow != nil {
			return follow(req, via)
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	resp.Body.Close()
	linked(resp.Header)
	if resp.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("status %s", resp.Status)
	}
	if size < 0 {
		size = resp.ContentLength
	}
	return size, sum, nil
}
