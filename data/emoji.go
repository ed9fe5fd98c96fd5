package data

import (
	"embed"
	"encoding/csv"
	"fmt"
	"image"
	"image/draw"
	"slices"

	"github.com/gomfm/gomfm/data/imagefile"
)

// emojiFS has the embedded emoji. emoji/README.md names their source and license.
//
//go:embed emoji/pictures.webp emoji/names.csv
var emojiFS embed.FS

// Sides of an emoji in pixels, and emoji per row of the sheet.
const emojiSide, emojiColumns = 64, 44

// EmojiName names an emoji.
type EmojiName struct {
	Code        string // code points in hexadecimal digits, such as "1F600" or "0023-FE0F-20E3"
	Name        string // short name, such as "grinning"
	Category    string // one of [EmojiCategories]
	Subcategory string // such as "face-smiling", one of 98
}

// Emoji returns the 1,906 embedded emoji of Noto Emoji, 64x64 pixels with three channels on white,
// 1,716 for training and 190 held out, always the same at random. The label of an emoji is the
// index of its category in [EmojiCategories]. Some emoji share a picture, such as the flags of
// islands with those of their states: three held-out ones have that of one for training.
func Emoji() (train, heldOut *Images, err error) {
	all, _, err := AllEmoji()
	if err != nil {
		return nil, nil, err
	}
	return holdOut(all, "the emoji in the package")
}

// AllEmoji returns the emoji of [Emoji] in Unicode's order, and their names.
func AllEmoji() (*Images, []EmojiName, error) {
	names, err := emojiNames()
	if err != nil {
		return nil, nil, fmt.Errorf("data: names of emoji: %w", err)
	}
	raw, err := emojiFS.ReadFile("emoji/pictures.webp")
	if err != nil {
		return nil, nil, err
	}
	sheet, err := imagefile.Decode(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("data: emoji: the sheet %w", err)
	}
	m := &Images{N: len(names), Height: emojiSide, Width: emojiSide, Channels: 3}
	rows := (m.N + emojiColumns - 1) / emojiColumns
	if size := sheet.Bounds().Size(); size != image.Pt(emojiColumns*emojiSide, rows*emojiSide) {
		return nil, nil, fmt.Errorf("data: emoji: a sheet of %v pixels does not fit %d names", size, m.N)
	}
	tile := image.NewRGBA(image.Rect(0, 0, emojiSide, emojiSide))
	categories := EmojiCategories()
	for i, name := range names {
		draw.Draw(tile, tile.Rect, sheet, image.Pt(i%emojiColumns, i/emojiColumns).Mul(emojiSide), draw.Src)
		for p := range slices.Chunk(tile.Pix, 4) {
			m.Pixels = append(m.Pixels, p[:3]...)
		}
		m.Labels = append(m.Labels, int32(slices.Index(categories, name.Category)))
	}
	return m, names, nil
}

// EmojiCategories returns the nine categories of [Emoji] in the order of their labels.
func EmojiCategories() []string {
	return []string{"Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places",
		"Activities", "Objects", "Symbols", "Flags"}
}

func emojiNames() ([]EmojiName, error) {
	f, err := emojiFS.Open("emoji/names.csv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	var names []EmojiName
	for _, row := range rows[1:] {
		if !slices.Contains(EmojiCategories(), row[2]) {
			return nil, fmt.Errorf("%s has the unknown category %q", row[1], row[2])
		}
		names = append(names, EmojiName{Code: row[0], Name: row[1], Category: row[2], Subcategory: row[3]})
	}
	return names, nil
}
