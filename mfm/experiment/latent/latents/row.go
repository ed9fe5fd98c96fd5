package latents

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/internal/half"
	"github.com/gomlx/compute/dtypes/float16"
)

// A row of a cache has, for an image and then for its mirror image, the mean and then the standard
// deviation of the latent, float16 [2, 2, height, width, channels], the label, int32, and the
// CRC-32C of all that, uint32; little-endian.

// rowBytes returns the number of bytes of a row of latents of size elements.
func rowBytes(size int) int64 { return int64(8*size + 8) }

// leftOut is a bad file.
type leftOut struct {
	Index int `json:"index"` // of the file in the set
	*stream.BadFile
}

// Chunk has the latents of consecutive images, in their order.
type Chunk struct {
	Size int // of a latent in elements
	End  int // index of the image after the last one

	rows []byte
	bad  []leftOut // images without a row
}

// Add appends the latents of an image and of its mirror image, the means and then the standard
// deviations of each, [2, 2, Size], and the label of the image. It returns an error if a moment is
// not finite in float16.
func (c *Chunk) Add(moments []float32, label int32) (err error) {
	c.rows, err = appendRow(c.rows, moments, label)
	return err
}

// LeaveOut notes that the image of an index has no latents.
func (c *Chunk) LeaveOut(index int, bad *stream.BadFile) { c.bad = append(c.bad, leftOut{index, bad}) }

// Each calls do with the moments of each image, as in [Chunk.Add] but rounded to float16, which do
// must not keep, and with its label.
func (c *Chunk) Each(do func(moments []float32, label int32)) {
	m, bytes := make([]float32, 4*c.Size), int(rowBytes(c.Size))
	for at := 0; at < len(c.rows); at += bytes {
		row := c.rows[at : at+bytes]
		moments(m, row, 0)
		do(m, labelOf(row))
	}
}

// castagnoli returns the table of CRC-32C, which package hash/crc32 makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendRow appends a row of moments, [2, 2, size]. It returns an error if a moment is not finite
// in float16.
func appendRow(to []byte, moments []float32, label int32) ([]byte, error) {
	begin := len(to)
	for _, v := range moments {
		rounded, err := half.Round(v)
		if err != nil {
			return nil, fmt.Errorf("a moment of the latent: %w: the autoencoder is unfit for the image", err)
		}
		to = binary.LittleEndian.AppendUint16(to, rounded.Bits())
	}
	to = binary.LittleEndian.AppendUint32(to, uint32(label))
	return binary.LittleEndian.AppendUint32(to, crc32.Checksum(to[begin:], castagnoli())), nil
}

// intact reports whether a row has the bytes that were written.
func intact(row []byte) bool {
	end := len(row) - 4
	return crc32.Checksum(row[:end], castagnoli()) == binary.LittleEndian.Uint32(row[end:])
}

// labelOf returns the label of a row.
func labelOf(row []byte) int32 { return int32(binary.LittleEndian.Uint32(row[len(row)-8:])) }

// moments converts the moments of a row from that of index from on.
func moments(to []float32, row []byte, from int) {
	for i := range to {
		to[i] = float16.FromBits(binary.LittleEndian.Uint16(row[2*(from+i):])).Float32()
	}
}

// rows are the rows of an open file.
type rows struct {
	f    *os.File
	n    int
	size int // of a latent in elements
}

// check returns an error unless the file has exactly the rows.
func (r rows) check() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	if want := int64(r.n) * rowBytes(r.size); info.Size() != want {
		return fmt.Errorf("%s has %d bytes, %d rows have %d: it is damaged, remove its folder to encode the images "+
			"again", r.f.Name(), info.Size(), r.n, want)
	}
	return nil
}

// read reads row i. The error of a damaged one names file and row.
func (r rows) read(i int, row []byte) error {
	if _, err := r.f.ReadAt(row, int64(i)*rowBytes(r.size)); err != nil {
		return fmt.Errorf("%s: row %d: %w", r.f.Name(), i, err)
	}
	if !intact(row) {
		return fmt.Errorf("%s: row %d is damaged: its checksum is wrong, remove the folder to encode the images again",
			r.f.Name(), i)
	}
	return nil
}

// each calls do with all rows in their order: moments, [2, 2, size], which do must not keep, and
// labels. It returns an error when ctx ends.
func (r rows) each(ctx context.Context, do func(i int, moments []float32, label int32) error) error {
	row, m := make([]byte, rowBytes(r.size)), make([]float32, 4*r.size)
	for i := range r.n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading latents: %w", context.Cause(ctx))
		}
		if err := r.read(i, row); err != nil {
			return err
		}
		moments(m, row, 0)
		if err := do(i, m, labelOf(row)); err != nil {
			return err
		}
	}
	return nil
}

// sound returns the number of rows of the file before its first one that is incomplete or damaged:
// what a system that lost its power has not written may be a row of zeros before rows that are
// whole. It reads all of them, unless ctx ends.
func (r rows) sound(ctx context.Context) (int, error) {
	info, err := r.f.Stat()
	if err != nil {
		return 0, err
	}
	row := make([]byte, rowBytes(r.size))
	n := int(info.Size() / rowBytes(r.size))
	for i := range n {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("reading latents: %w", context.Cause(ctx))
		}
		if _, err := r.f.ReadAt(row, int64(i)*rowBytes(r.size)); err != nil {
			return 0, err
		}
		if !intact(row) {
			return i, nil
		}
	}
	return n, nil
}
