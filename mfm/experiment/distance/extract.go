package distance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

// chunk is the number of pictures of a file of features.
const chunk = 512

// Extraction says where features are kept and which part of the pictures this process does.
type Extraction struct {
	// Dir is a folder that keeps features-000000.npy and so on, float32 [512, dim] but for the last,
	// and features.json, which says what they are of. Features that are there are not computed again,
	// so that a stopped extraction resumes. Empty means none.
	Dir string
	// Shard is the index of this process among Shards, from 0: it does each file whose index is Shard
	// modulo Shards. Shards of 0 or 1 means all. The features do not depend on their number.
	Shard, Shards int
	// Done is called after each file with the numbers of pictures done and of all of this shard. Nil
	// means no callback.
	Done func(n, of int)
}

// set is the content of features.json.
type set struct {
	Source
	Pictures int    `json:"pictures"`
	Dim      int    `json:"dim"`
	Hash     string `json:"hash"` // of the pictures
}

// setFile is the file of a folder that describes its features.
const setFile = "features.json"

// ErrOtherFeatures says that a folder has features of other pictures, or of another network.
var ErrOtherFeatures = errors.New("the folder has features of other pictures or of another network: choose another one")

// Run computes the features of pictures, and calls visit, unless it is nil, with those of this
// shard in order, [n][dim] in parts. Pictures are read as 8-bit levels v and have the values
// v/127.5 - 1. It returns an error if a picture cannot be read, if a feature is not finite, or when
// ctx ends.
func (x Extraction) Run(ctx context.Context, n *Network, p *Pictures, visit func(rows [][]float64) error) error {
	s := set{Source: n.source(), Pictures: p.N, Dim: n.Features}
	if x.Dir != "" {
		var err error
		if s.Hash, err = p.Hash(ctx); err != nil {
			return err
		}
		err = run.ClaimJSON(filepath.Join(x.Dir, setFile), s)
		if errors.Is(err, run.ErrOtherContent) {
			return fmt.Errorf("%w: %s", ErrOtherFeatures, filepath.Join(x.Dir, setFile))
		}
		if err != nil {
			return err
		}
	}
	shards, all, done := max(x.Shards, 1), 0, 0
	for from := x.Shard * chunk; from < p.N; from += shards * chunk {
		all += min(chunk, p.N-from)
	}
	for from := x.Shard * chunk; from < p.N; from += shards * chunk {
		rows, err := s.read(x.Dir, from)
		if x.Dir == "" || errors.Is(err, fs.ErrNotExist) {
			rows, err = x.compute(ctx, n, p, s, from)
		}
		if err == nil && visit != nil {
			err = visit(rows)
		}
		if err != nil {
			return err
		}
		if done += len(rows); x.Done != nil {
			x.Done(done, all)
		}
	}
	return nil
}

// compute computes the features of a file, and writes it.
func (x Extraction) compute(ctx context.Context, n *Network, p *Pictures, s set, from int) ([][]float64, error) {
	const part = 64 // pictures in memory
	var rows [][]float64
	for at, to := from, min(from+chunk, p.N); at < to; at += part {
		levels, err := p.Levels(ctx, at, min(at+part, to))
		if err != nil {
			return nil, err
		}
		pixels := make([]float32, len(levels))
		for i, v := range levels {
			pixels[i] = float32(float64(v)/127.5 - 1)
		}
		features, err := n.FeaturesOf(ctx, pixels, p.Height, p.Width)
		if err != nil {
			return nil, err
		}
		rows = append(rows, features...)
	}
	if err := CheckRows(rows, 1); err != nil {
		return nil, fmt.Errorf("pictures from %d on: %w", from, err)
	}
	if x.Dir == "" {
		return rows, nil
	}
	flat := make([]float32, 0, len(rows)*n.Features)
	for _, row := range rows {
		for _, v := range row {
			flat = append(flat, float32(v)) // exact: the network computes in float32
		}
	}
	var content bytes.Buffer
	if err := npy.Write(&content, flat, len(rows), n.Features); err != nil {
		return nil, err
	}
	return rows, run.ReplaceFile(s.file(x.Dir, from), content.Bytes())
}

// file returns the path of the features of the pictures from from on.
func (s set) file(dir string, from int) string {
	return filepath.Join(dir, fmt.Sprintf("features-%06d.npy", from/chunk))
}

// read returns the features of the pictures from from on.
func (s set) read(dir string, from int) ([][]float64, error) {
	if dir == "" {
		return nil, nil
	}
	path := s.file(dir, from)
	rows, err := ReadFeatures(path, "")
	if err != nil {
		return nil, err
	}
	if want := min(chunk, s.Pictures-from); len(rows) != want || len(rows[0]) != s.Dim {
		return nil, fmt.Errorf("%s has %d rows of %d features, want %d of %d: delete it to compute them again", path,
			len(rows), len(rows[0]), want, s.Dim)
	}
	return rows, nil
}

// readSet returns what a folder has features of.
func readSet(dir string) (s set, err error) {
	path := filepath.Join(dir, setFile)
	raw, err := config.ReadFile(path)
	if err == nil {
		err = strictjson.DecodeStored(raw, &s)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if s.Pictures < 1 || s.Dim < 1 || s.Dim > maxDim || s.Pictures > maxValues/s.Dim {
		return s, fmt.Errorf("%s: %d pictures of %d features: want the file as it was written", path, s.Pictures, s.Dim)
	}
	return s, nil
}
