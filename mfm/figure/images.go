package figure

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	xdraw "golang.org/x/image/draw"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/gomfm/gomfm/mfm/figure/internal/typeset"
)

// Images is a grid of small images, filled row by row. It must be the only layer of its panel,
// which has no axes. Enlarged pixels stay sharp squares.
type Images struct {
	// Pixels has shape [N, H, W, C], with -1 for black and 1 for white. Values beyond are clamped.
	Pixels []float32
	// N is the number of images, H and W are their height and width in pixels, 1 to 16384 each. C
	// is the number of channels, 1 for gray or 3 for RGB.
	N, H, W, C int
	// Cols is the number of images in a row. 0 means N.
	Cols int
	// RowLabels stand left of each row. Nil means none.
	RowLabels []string
	// ColTitles stand above each column, or above each group of columns between Gaps. Nil means
	// none.
	ColTitles []string
	// Gaps are the columns, from 0 and increasing, that are followed by a wider gap.
	Gaps []int
	// Size is the largest width of an image in inches. 0 means 0.9.
	Size float64
}

// AddRow appends a row with a label: images one after the other, each part of pixels [n, H, W, C],
// in all as many as the grid has columns.
func (l *Images) AddRow(label string, pixels ...[]float32) {
	for _, p := range pixels {
		l.Pixels = append(l.Pixels, p...)
	}
	l.N = len(l.Pixels) / max(1, l.H*l.W*l.C)
	l.RowLabels = append(l.RowLabels, label)
}

func (l Images) info() info { return info{kind: "Images"} }

func (l Images) cols() int {
	if l.Cols == 0 {
		return l.N
	}
	return l.Cols
}

func (l Images) rows() int { return (l.N + l.cols() - 1) / l.cols() }

func (l Images) check() error {
	const most = 1 << 14 // for each length, so that products do not overflow
	for _, v := range []int{l.N, l.H, l.W} {
		if v < 1 || v > most {
			return fmt.Errorf("N, H, W = %d, %d, %d, want each 1 to %d", l.N, l.H, l.W, most)
		}
	}
	if l.C != 1 && l.C != 3 {
		return fmt.Errorf("C = %d, want 1 or 3 channels", l.C)
	}
	if want := l.N * l.H * l.W * l.C; len(l.Pixels) != want {
		return fmt.Errorf("%d Pixels, want N·H·W·C = %d·%d·%d·%d = %d", len(l.Pixels), l.N, l.H, l.W, l.C, want)
	}
	if i := slices.IndexFunc(l.Pixels, func(v float32) bool { return v != v }); i >= 0 {
		return fmt.Errorf("Pixels[%d] = NaN (image %d)", i, i/(l.H*l.W*l.C))
	}
	if l.Cols < 0 || l.Cols > l.N {
		return fmt.Errorf("Cols = %d for %d images", l.Cols, l.N)
	}
	if l.RowLabels != nil && len(l.RowLabels) != l.rows() {
		return fmt.Errorf("%d RowLabels for %d rows, want equal numbers", len(l.RowLabels), l.rows())
	}
	last := -1
	for _, g := range l.Gaps {
		if g <= last || g >= l.cols()-1 {
			return fmt.Errorf("Gaps = %v, want increasing columns from 0 to %d", l.Gaps, l.cols()-2)
		}
		last = g
	}
	if n := len(l.ColTitles); l.ColTitles != nil && n != l.cols() && n != len(l.Gaps)+1 {
		return fmt.Errorf("%d ColTitles for %d columns in %d groups, want one for each column or group",
			n, l.cols(), len(l.Gaps)+1)
	}
	if !(l.Size >= 0) || math.IsInf(l.Size, 0) {
		return fmt.Errorf("Size = %v, want 0 or more inches", l.Size)
	}
	return typeset.Check("label", slices.Concat(l.RowLabels, l.ColTitles)...)
}

func (l Images) extent(bool) (x, y interval) { return nothing, nothing }

func (l Images) draw(*frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	return nil, nil, fmt.Errorf("images have no axes: give them a panel of their own")
}

// imageContent is the content of a panel of images.
type imageContent struct {
	Images
	title panelTitle
}

// mosaic is the layout of the images in pixels of the file.
type mosaic struct {
	x, y []int // left and upper edges of the columns and rows
	w, h int   // size of an image
}

func (m mosaic) width() int  { return m.x[len(m.x)-1] + m.w + 1 }
func (m mosaic) height() int { return m.y[len(m.y)-1] + m.h + 1 }

// layout fits the images into a width, with a margin of one pixel for the outermost outlines.
func (l *imageContent) layout(width vg.Length) mosaic {
	dpi := float64(l.title.theme.DPI)
	gap := max(3, int(0.035*dpi+0.5))
	wide := int(0.11*dpi + 0.5)
	size := l.Size
	if size == 0 {
		size = 0.9
	}
	room := int(width.Dots(dpi)) - 2 - gap*(l.cols()-1) - wide*len(l.Gaps)
	m := mosaic{w: max(1, min(room/l.cols(), int(size*dpi)))}
	m.h = max(1, (m.w*l.H+l.W/2)/l.W)
	x := 1
	for j := range l.cols() {
		m.x = append(m.x, x)
		x += m.w + gap
		if slices.Contains(l.Gaps, j) {
			x += wide
		}
	}
	for i := range l.rows() {
		m.y = append(m.y, 1+i*(m.h+gap))
	}
	return m
}

func (l *imageContent) margins(w, _ vg.Length) margin {
	m := margin{top: l.title.height(w) + l.titlesHeight(l.layout(w))}
	label := l.label()
	for _, s := range l.RowLabels {
		m.left = max(m.left, label.Width(s)+l.title.theme.em(0.6))
	}
	return m
}

func (l *imageContent) label() text.Style {
	return l.title.theme.style(sizeLabel, false, l.title.theme.Ink)
}

// titlesHeight returns the height of the titles of the columns.
func (l *imageContent) titlesHeight(m mosaic) vg.Length {
	var h vg.Length
	for j := range l.ColTitles {
		txt, _ := l.colTitle(m, j)
		h = max(h, l.label().Height(txt)+l.title.theme.em(titleGap))
	}
	return h
}

// colTitle returns the lines of the title of a column or a group of columns, and their center.
func (l *imageContent) colTitle(m mosaic, j int) (string, vg.Length) {
	first, last := j, j
	if len(l.ColTitles) != l.cols() {
		first, last = 0, l.cols()-1
		if j > 0 {
			first = l.Gaps[j-1] + 1
		}
		if j < len(l.Gaps) {
			last = l.Gaps[j]
		}
	}
	lo, hi := vg.Length(m.x[first])*l.px(), vg.Length(m.x[last]+m.w)*l.px()
	return typeset.Wrap(l.label(), l.ColTitles[j], hi-lo), (lo + hi) / 2
}

// px returns the size of a pixel of the file.
func (l *imageContent) px() vg.Length { return vg.Inch / vg.Length(l.title.theme.DPI) }

func (l *imageContent) height(w vg.Length) (vg.Length, bool) {
	return vg.Length(l.layout(w).height()) * l.px(), true
}

func (l *imageContent) draw(c draw.Canvas, data vg.Rectangle) {
	m, px, th := l.layout(data.Size().X), l.px(), l.title.theme
	// On whole pixels the canvas does not interpolate.
	snap := func(v vg.Length) vg.Length { return vg.Length(math.Round(float64(v/px))) * px }
	w, h := vg.Length(m.width())*px, vg.Length(m.height())*px
	lo := vg.Point{X: snap(data.Min.X + (data.Size().X-w)/2), Y: snap(data.Max.Y - h)}
	c.DrawImage(vg.Rectangle{Min: lo, Max: lo.Add(vg.Point{X: w, Y: h})}, l.raster(m))

	label := l.label()
	descent := label.FontExtents().Descent
	label.XAlign = draw.XCenter
	for j := range l.ColTitles {
		txt, mid := l.colTitle(m, j)
		c.FillText(label, vg.Point{X: lo.X + mid, Y: lo.Y + h + th.em(titleGap) + descent}, txt)
	}
	label.XAlign, label.YAlign = draw.XRight, draw.YCenter
	for i, s := range l.RowLabels {
		mid := lo.Y + h - (vg.Length(m.y[i])+vg.Length(m.h)/2)*px
		c.FillText(label, vg.Point{X: lo.X - th.em(0.6), Y: mid + descent}, s)
	}
	data.Max.Y += l.titlesHeight(m)
	l.title.draw(c, data)
}

// raster draws all images with outlines one pixel wide.
func (l *imageContent) raster(m mosaic) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, m.width(), m.height()))
	xdraw.Draw(img, img.Bounds(), image.White, image.Point{}, xdraw.Src)
	edge := image.NewUniform(fade(l.title.theme.Muted, 0.55))
	scale := overlap(float64(l.W) / float64(m.w))
	src := image.NewRGBA(image.Rect(0, 0, l.W, l.H))
	for k := range l.N {
		for i := range l.H * l.W {
			at := (k*l.H*l.W + i) * l.C
			c := color.RGBA{R: l.level(at), G: l.level(at + 1%l.C), B: l.level(at + 2%l.C), A: 0xff}
			src.SetRGBA(i%l.W, i/l.W, c)
		}
		x, y := m.x[k%l.cols()], m.y[k/l.cols()]
		r := image.Rect(x, y, x+m.w, y+m.h)
		xdraw.Draw(img, r.Inset(-1), edge, image.Point{}, xdraw.Over)
		scale.Scale(img, r, src, src.Bounds(), xdraw.Src, nil)
	}
	return img
}

// level returns the 8-bit level of a value of Pixels.
func (l *imageContent) level(at int) uint8 {
	return uint8((min(1, max(-1, float64(l.Pixels[at])))+1)/2*255 + 0.5)
}

// overlap returns the kernel that weighs a source pixel by the area that it shares with a pixel of
// the file, for scale source pixels per pixel of the file. Enlarged pixels stay squares with at
// most one blended pixel between them. Reduced pixels are averaged.
func overlap(scale float64) *xdraw.Kernel {
	half := (1 + scale) / 2 // distance of the centers of two pixels that touch
	unit := max(1, scale)   // the unit in which xdraw measures distances
	return &xdraw.Kernel{Support: half / unit, At: func(t float64) float64 { return min(scale, 1, half-t*unit) }}
}
