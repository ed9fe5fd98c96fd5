package figure

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Images is a grid of small pictures, row by row. It is the only layer of its panel, which then needs no axes. Pixels
// stay sharp squares at any size.
type Images struct {
	Pixels     []float32 // [N, H, W, C], -1 black to 1 white; clamped beyond
	N, H, W, C int       // C is 1 (grey) or 3 (RGB)

	Cols      int      // pictures in a row; 0 means all N
	RowLabels []string // at the left of each row; nil for none
	ColTitles []string // above each column, or above each group of columns between Gaps; nil for none
	Gaps      []int    // columns (from 0, rising) that a wider gap follows
	Invert    bool     // black where the value is 1, as ink on paper
	Size      float64  // largest width of a picture, in inches; 0 means 0.9
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
	const most = 1 << 14 // along any side, so that products do not overflow
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
	for i, v := range l.Pixels {
		if v != v {
			return fmt.Errorf("Pixels[%d] = NaN (picture %d)", i, i/(l.H*l.W*l.C))
		}
	}
	if l.Cols < 0 || l.Cols > l.N {
		return fmt.Errorf("Cols = %d for %d pictures", l.Cols, l.N)
	}
	if l.RowLabels != nil && len(l.RowLabels) != l.rows() {
		return fmt.Errorf("%d RowLabels for %d rows, want as many", len(l.RowLabels), l.rows())
	}
	last := -1
	for _, g := range l.Gaps {
		if g <= last || g >= l.cols()-1 {
			return fmt.Errorf("Gaps = %v, want rising columns from 0 to %d", l.Gaps, l.cols()-2)
		}
		last = g
	}
	if n := len(l.ColTitles); l.ColTitles != nil && n != l.cols() && n != len(l.Gaps)+1 {
		return fmt.Errorf("%d ColTitles for %d columns in %d groups, want one for each column or one for each group", n, l.cols(), len(l.Gaps)+1)
	}
	if !(l.Size >= 0) || math.IsInf(l.Size, 0) {
		return fmt.Errorf("Size = %v, want 0 or more inches", l.Size)
	}
	for _, s := range append(append([]string{}, l.RowLabels...), l.ColTitles...) {
		if err := checkText("label", s); err != nil {
			return err
		}
	}
	return nil
}

func (l Images) extent(bool) (x, y interval) { return nothing, nothing }

func (l Images) draw(*frame) ([]plot.Plotter, []plot.Thumbnailer, error) {
	return nil, nil, fmt.Errorf("pictures have no axes: give them a panel of their own")
}

// imageContent is what a panel of pictures holds.
type imageContent struct {
	Images
	theme *Theme
	title panelTitle
}

// mosaic is the layout of the pictures in pixels of the file.
type mosaic struct {
	x, y []int // of the left and upper edges of each column and row
	w, h int   // of a picture
}

func (m mosaic) width() int  { return m.x[len(m.x)-1] + m.w + 1 }
func (m mosaic) height() int { return m.y[len(m.y)-1] + m.h + 1 }

// layout fits the pictures into a width. There is one pixel around them for the frame of the outermost.
func (l *imageContent) layout(width vg.Length) mosaic {
	dpi := float64(l.theme.DPI)
	gap := max(3, int(0.035*dpi+0.5))
	wide := int(0.11*dpi + 0.5)
	size := l.Size
	if size == 0 {
		size = 0.9
	}
	room := int(width.Dots(dpi)) - 2 - gap*(l.cols()-1) - wide*len(l.Gaps)
	m := mosaic{w: max(1, min(room/l.cols(), int(size*dpi)))}
	m.h = max(1, (m.w*l.H+l.W/2)/l.W)
	after := make(map[int]bool)
	for _, g := range l.Gaps {
		after[g] = true
	}
	x := 1
	for j := range l.cols() {
		m.x = append(m.x, x)
		x += m.w + gap
		if after[j] {
			x += wide
		}
	}
	for i := range l.rows() {
		m.y = append(m.y, 1+i*(m.h+gap))
	}
	return m
}

func (l *imageContent) margins(w, _ vg.Length) margin {
	m := margin{top: l.title.height(w)}
	label := l.theme.style(sizeLabel, false, l.theme.Ink)
	for _, s := range l.RowLabels {
		m.left = max(m.left, label.Width(s)+l.theme.em(0.6))
	}
	m.top += l.titlesHeight(l.layout(w))
	return m
}

// titlesHeight returns the room above the pictures for the titles of the columns.
func (l *imageContent) titlesHeight(m mosaic) vg.Length {
	var h vg.Length
	for j := range l.ColTitles {
		txt, style, _ := l.colTitle(m, j)
		h = max(h, style.Height(txt)+l.theme.em(titleGap))
	}
	return h
}

// colTitle returns the title of a column or a group of columns in lines, its style, and its middle.
func (l *imageContent) colTitle(m mosaic, j int) (string, text.Style, vg.Length) {
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
	px := l.px()
	lo, hi := vg.Length(m.x[first])*px, vg.Length(m.x[last]+m.w)*px
	style := l.theme.style(sizeLabel, false, l.theme.Ink)
	style.XAlign = draw.XCenter
	return wrap(style, l.ColTitles[j], hi-lo), style, (lo + hi) / 2
}

// px returns the size of a pixel of the file.
func (l *imageContent) px() vg.Length { return vg.Inch / vg.Length(l.theme.DPI) }

func (l *imageContent) height(w vg.Length) (vg.Length, bool) {
	return vg.Length(l.layout(w).height()) * l.px(), true
}

func (l *imageContent) draw(c draw.Canvas, data vg.Rectangle) {
	m, px := l.layout(data.Size().X), l.px()
	// Centred, and on whole pixels so that the canvas does not interpolate.
	snap := func(v vg.Length) vg.Length { return vg.Length(math.Round(float64(v/px))) * px }
	w, h := vg.Length(m.width())*px, vg.Length(m.height())*px
	lo := vg.Point{X: snap(data.Min.X + (data.Size().X-w)/2), Y: snap(data.Max.Y - h)}
	c.DrawImage(vg.Rectangle{Min: lo, Max: lo.Add(vg.Point{X: w, Y: h})}, l.raster(m))

	label := l.theme.style(sizeLabel, false, l.theme.Ink)
	label.XAlign, label.YAlign = draw.XRight, draw.YCenter
	descent := label.FontExtents().Descent
	for i, s := range l.RowLabels {
		mid := lo.Y + h - (vg.Length(m.y[i])+vg.Length(m.h)/2)*px
		c.FillText(label, vg.Point{X: lo.X - l.theme.em(0.6), Y: mid + descent}, s)
	}
	for j := range l.ColTitles {
		txt, style, mid := l.colTitle(m, j)
		c.FillText(style, vg.Point{X: lo.X + mid, Y: lo.Y + h + l.theme.em(titleGap) + descent}, txt)
	}
	l.title.draw(c, vg.Rectangle{Min: data.Min, Max: vg.Point{X: data.Max.X, Y: data.Max.Y + l.titlesHeight(m)}})
}

// raster draws all pictures with a frame of one pixel.
func (l *imageContent) raster(m mosaic) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, m.width(), m.height()))
	for i := range img.Pix {
		img.Pix[i] = 0xff
	}
	xs, ys := overlaps(l.W, m.w), overlaps(l.H, m.h)
	size := l.H * l.W * l.C
	for k := range l.N {
		x0, y0 := m.x[k%l.cols()], m.y[k/l.cols()]
		outlineRect(img, image.Rect(x0-1, y0-1, x0+m.w+1, y0+m.h+1), tint(l.theme.Muted, 0.45))
		picture := l.Pixels[k*size : (k+1)*size]
		for y, wy := range ys {
			for x, wx := range xs {
				img.SetRGBA(x0+x, y0+y, l.color(picture, wx, wy))
			}
		}
	}
	return img
}

// overlap is the run of source pixels under a pixel of the file: weights[i] is the share of pixel from+i.
type overlap struct {
	from    int
	weights []float64
}

// overlaps maps n source pixels to m pixels by area. Enlarged, they stay squares of equal size, with no more than one
// blended pixel between two; reduced, they are averaged.
func overlaps(n, m int) []overlap {
	out := make([]overlap, m)
	scale := float64(n) / float64(m)
	for i := range out {
		lo, hi := float64(i)*scale, float64(i+1)*scale
		first, last := int(lo), min(n-1, int(math.Ceil(hi-1e-9))-1)
		out[i].from = first
		for j := first; j <= last; j++ {
			share := (min(hi, float64(j+1)) - max(lo, float64(j))) / scale
			out[i].weights = append(out[i].weights, share)
		}
	}
	return out
}

func (l *imageContent) color(picture []float32, wx, wy overlap) color.RGBA {
	var rgb [3]float64
	for i, a := range wy.weights {
		for j, b := range wx.weights {
			at := ((wy.from+i)*l.W + wx.from + j) * l.C
			for ch := range rgb {
				v := float64(picture[at+ch%l.C])
				rgb[ch] += a * b * min(1, max(-1, v))
			}
		}
	}
	var out [3]uint8
	for ch, v := range rgb {
		if l.Invert {
			v = -v
		}
		out[ch] = uint8(min(255, max(0, (v+1)/2*255+0.5)))
	}
	return color.RGBA{R: out[0], G: out[1], B: out[2], A: 0xff}
}

// outlineRect draws the outline of r, one pixel wide.
func outlineRect(img *image.RGBA, r image.Rectangle, c color.Color) {
	for x := r.Min.X; x < r.Max.X; x++ {
		img.Set(x, r.Min.Y, c)
		img.Set(x, r.Max.Y-1, c)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		img.Set(r.Min.X, y, c)
		img.Set(r.Max.X-1, y, c)
	}
}
