package data_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/data"
)

// The emoji are those of the sheet that data/emoji/make.py wrote, as Pillow decodes it; the hash is
// that of sheet.crop(...) of all tiles in order, RGB.
func TestEmoji(t *testing.T) {
	all, names, err := data.AllEmoji()
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(all.Pixels)
	if got, want := hex.EncodeToString(hash[:]), "6cef32ce667b509c928ee3a75723e07de593c2f123f129b745466e28d18d8aa1"; got != want {
		t.Errorf("pixels have the SHA-256 %s, Pillow's have %s", got, want)
	}
	if all.N != 1906 || len(names) != all.N || names[0].Name != "grinning" || names[1905].Name != "flag-wales" {
		t.Errorf("%d emoji from %+v to %+v, want 1906 from grinning to flag-wales", all.N, names[0], names[len(names)-1])
	}
	counts, err := all.ClassCounts(len(data.EmojiCategories()))
	if want := []int{169, 386, 159, 131, 218, 85, 264, 224, 270}; err != nil || !slices.Equal(counts, want) {
		t.Errorf("categories have %v emoji, want %v (%v)", counts, want, err)
	}
	train, heldOut, err := data.Emoji()
	if err != nil {
		t.Fatal(err)
	}
	if train.N != 1716 || heldOut.N != 190 || train.Validate() != nil || heldOut.Validate() != nil {
		t.Errorf("%d emoji for training and %d held out, want 1716 and 190", train.N, heldOut.N)
	}
	d, known := train.Dim(), make(map[string]bool)
	for i := range train.N {
		known[string(train.Pixels[i*d:(i+1)*d])] = true
	}
	same := 0
	for i := range heldOut.N {
		if known[string(heldOut.Pixels[i*d:(i+1)*d])] {
			same++
		}
	}
	if same != 3 { // such as flags of islands that have the flag of their state
		t.Errorf("%d held-out emoji have the picture of one for training, want 3", same)
	}
}
