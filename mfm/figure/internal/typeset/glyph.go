package typeset

import (
	"unicode"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// outline returns the outlines of the glyphs of txt. The first glyph starts at pt.
func outline(f font.Face, pt vg.Point, txt string) vg.Path {
	var (
		path vg.Path
		buf  sfnt.Buffer
		prev sfnt.GlyphIndex
	)
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	scale := f.Font.Size / vg.Length(upem)
	for _, r := range txt {
		idx, err := f.Face.GlyphIndex(&buf, r)
		if err != nil {
			continue
		}
		if unicode.Is(unicode.Mn, r) {
			path = append(path, glyph(f, &buf, pt.Add(markOffset(f, &buf, prev, idx)), idx)...)
			continue
		}
		if kern, err := f.Face.Kern(&buf, prev, idx, upem, 0); prev != 0 && err == nil {
			pt.X += scale * vg.Length(kern)
		}
		path = append(path, glyph(f, &buf, pt, idx)...)
		if adv, err := f.Face.GlyphAdvance(&buf, idx, upem, 0); err == nil {
			pt.X += scale * vg.Length(adv)
		}
		prev = idx
	}
	return path
}

// glyph returns the outline of one glyph at pt.
func glyph(f font.Face, buf *sfnt.Buffer, pt vg.Point, idx sfnt.GlyphIndex) vg.Path {
	var path vg.Path
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	scale := f.Font.Size / vg.Length(upem)
	at := func(p fixed.Point26_6) vg.Point { // y points down in a font
		return vg.Point{X: pt.X + scale*vg.Length(p.X), Y: pt.Y - scale*vg.Length(p.Y)}
	}
	segments, err := f.Face.LoadGlyph(buf, idx, upem, nil)
	if err != nil || len(segments) == 0 {
		return nil
	}
	for i, s := range segments {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if i > 0 {
				path.Close()
			}
			path.Move(at(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			path.Line(at(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			path.QuadTo(at(s.Args[0]), at(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			path.CubeTo(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
		}
	}
	path.Close()
	return path
}

// markOffset returns the position of a combining mark relative to the end of its base. The mark is
// centered over the base, as in x̄, and above it if the base is a capital.
func markOffset(f font.Face, buf *sfnt.Buffer, base, mark sfnt.GlyphIndex) vg.Point {
	upem := fixed.Int26_6(f.Face.UnitsPerEm())
	b, advance, err := f.Face.GlyphBounds(buf, base, upem, 0)
	if err != nil {
		return vg.Point{}
	}
	m, _, err := f.Face.GlyphBounds(buf, mark, upem, 0)
	if err != nil {
		return vg.Point{}
	}
	dx := (b.Min.X+b.Max.X)/2 - advance - (m.Min.X+m.Max.X)/2
	var up fixed.Int26_6
	if gap := upem / 16; m.Max.Y < 0 && m.Max.Y > b.Min.Y-gap { // y points down
		up = m.Max.Y - (b.Min.Y - gap)
	}
	scale := f.Font.Size / vg.Length(upem)
	return vg.Point{X: scale * vg.Length(dx), Y: scale * vg.Length(up)}
}
