package stream

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The hash of a set changes with names, sizes, classes and order, not with the folder's place.
func TestHash(t *testing.T) {
	dir := numbered(t, 6)
	hash := func(s *Set) string {
		t.Helper()
		text, err := s.Hash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	set := open(t, dir)
	want := hash(set)
	other := map[string]string{
		"some files":    hash(set.Subset([]int{0, 1, 2})),
		"another order": hash(set.Subset([]int{1, 0, 2, 3, 4, 5})),
	}
	if hash(set.Subset([]int{0, 1, 2, 3, 4, 5})) != want {
		t.Error("the subset of all files has another hash")
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if hash(open(t, moved)) != want {
		t.Error("a folder that has moved has another hash")
	}
	write(t, one(t, 4, 40, 2), moved, "0", "002.png")
	other["another size"] = hash(open(t, moved))
	if err := os.Rename(filepath.Join(moved, "0", "002.png"), filepath.Join(moved, "1", "002.png")); err != nil {
		t.Fatal(err)
	}
	other["another class"] = hash(open(t, moved))
	tar := func(labels ...string) string {
		var members []member
		for i, label := range labels {
			members = append(members, member{fmt.Sprint(i, ".png"), one(t, 4, 4, 1)}, member{fmt.Sprint(i, ".cls"), []byte(label)})
		}
		return write(t, archive(t, members...), t.TempDir(), "x.tar")
	}
	other["a tar file"], other["other labels"] = hash(open(t, tar("0", "1"))), hash(open(t, tar("1", "0")))
	if hash(open(t, tar("0", "1"))) != other["a tar file"] {
		t.Error("equal tar files have different hashes")
	}
	seen := map[string]string{want: "the set"}
	for name, h := range other {
		if seen[h] != "" {
			t.Errorf("%s and %s have one hash", name, seen[h])
		}
		seen[h] = name
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := set.Hash(ended); err == nil {
		t.Error("a hash after the end of the context")
	}
}

// Levels are those of the pictures in the order of the set, with the errors of bad files, whatever
// the number of workers.
func TestLevels(t *testing.T) {
	dir := numbered(t, 6)
	write(t, nil, dir, "0", "004.png")
	s := open(t, dir)
	for workers := range 3 {
		levels, bad, err := s.Levels(t.Context(), 1, 4, 2, 4, workers)
		if err != nil || len(levels) != 3*2*4*3 {
			t.Fatalf("%d levels: %v", len(levels), err)
		}
		// Red is the number of the picture.
		if got := []byte{levels[0], levels[24], levels[48]}; !slices.Equal(got, []byte{2, 0, 1}) {
			t.Errorf("pictures %d", got)
		}
		if bad[0] != nil || bad[1] == nil || bad[2] != nil {
			t.Errorf("bad files %v", bad)
		}
	}
}

// The order of a seed has each sample once in an epoch, and starts at any step.
func TestOrder(t *testing.T) {
	const n, size = 10, 4
	var all []int
	from := NewOrder(n, 3)
	for step := int64(1); step <= 5; step++ {
		indices, flip := from.Batch(step, size)
		again, flipped := NewOrder(n, 3).Batch(step, size)
		if !slices.Equal(indices, again) || !slices.Equal(flip, flipped) {
			t.Errorf("step %d depends on the steps before", step)
		}
		all = append(all, indices...)
	}
	for epoch := range slices.Chunk(all, n) {
		slices.Sort(epoch)
		if !slices.Equal(epoch, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("an epoch has %v", epoch)
		}
	}
	if other, _ := NewOrder(n, 4).Batch(1, size); slices.Equal(other, all[:size]) {
		t.Error("another seed has the same order")
	}
}
