package weightfile

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// wheelSuffix ends the names of files of PyTorch in a wheel.
const wheelSuffix = ".pth"

// unpacked returns the file of torch.save in a zip archive of size bytes that has one, such as a
// Python wheel: the only entry whose name ends in ".pth". Any other file is returned as it is.
func unpacked(r io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return r, size, nil // not a zip archive, or one whose error openZip reports
	}
	var found *zip.File
	for _, entry := range archive.File {
		if !strings.HasSuffix(entry.Name, wheelSuffix) {
			continue
		}
		if found != nil {
			return nil, 0, fmt.Errorf("zip: both %q and %q are files of PyTorch: unpack one of them", found.Name,
				entry.Name)
		}
		found = entry
	}
	if found == nil {
		return r, size, nil
	}
	content, err := found.Open()
	if err != nil {
		return nil, 0, fmt.Errorf("zip: %q: %w", found.Name, err)
	}
	defer content.Close()
	data, err := readAll(content, maxRepeats*size)
	if err != nil {
		return nil, 0, fmt.Errorf("zip: %q: %w", found.Name, err)
	}
	if len(data) < len("PK\x03\x04") {
		return nil, 0, fmt.Errorf("zip: %q is too short for a file of PyTorch", found.Name)
	}
	return bytes.NewReader(data), int64(len(data)), nil
}
