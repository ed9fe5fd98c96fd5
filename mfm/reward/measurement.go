package reward

import (
	"cmp"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// BlockAverage is the log-likelihood of a coarse measurement of an image, without its constant:
//
//	r(x) = -|y - A x|²/(2 σ²),
//
// where A x are the averages over Rows times Columns blocks, [rows*columns] with the blocks of a
// row adjacent, and over the channels. Block i of n along an axis of length L has the pixels from
// ⌊i L/n⌋ to ⌊(i+1) L/n⌋ - 1. Its target is the posterior distribution of the image given y and
// noise of standard deviation σ > 0.
//
// Samples are [n, height, width, channels]; fewer axes are those of gray images, or of one row.
type BlockAverage struct {
	Rows    int       `json:"rows"`
	Columns int       `json:"columns"`
	Y       []float64 `json:"y"`
	Sigma   float64   `json:"sigma"`
}

// Validate returns an error that names the first invalid value.
func (b BlockAverage) Validate() error {
	if err := b.check(most, most); err != nil {
		return err
	}
	if len(b.Y) != b.Rows*b.Columns {
		return invalid("block_average", "%d measurements y of %d blocks: give one for each", len(b.Y), b.Rows*b.Columns)
	}
	if err := holds("block_average", "y", b.Y); err != nil {
		return err
	}
	return positive("block_average", "sigma", b.Sigma)
}

// most bounds the number of blocks along an axis.
const most = 1 << 12

// Measure returns A x of an image, [height, width, channels]. It returns an error unless the image
// has at least one pixel for each block, and there are blocks.
func (b BlockAverage) Measure(image []float32, height, width, channels int) ([]float64, error) {
	if err := b.check(height, width); err != nil {
		return nil, err
	}
	var y []float64
	for _, row := range blocks(height, b.Rows) {
		for _, column := range blocks(width, b.Columns) {
			sum := 0.0
			for i, inRow := range row {
				for j, inColumn := range column {
					for k := range channels {
						sum += inRow * inColumn * float64(image[(i*width+j)*channels+k]) / float64(channels)
					}
				}
			}
			y = append(y, sum)
		}
	}
	return y, nil
}

// check returns an error unless there are blocks and each of them has a pixel of an image.
func (b BlockAverage) check(height, width int) error {
	if b.Rows < 1 || b.Columns < 1 || b.Rows > height || b.Columns > width {
		return invalid("block_average", "rows = %d, columns = %d: must lie in [1, %d] and in [1, %d], so that each block "+
			"has a pixel", b.Rows, b.Columns, height, width)
	}
	return nil
}

// blocks returns the shares of the pixels along an axis in the average of each block, [n][length].
func blocks(length, n int) [][]float64 {
	shares := make([][]float64, n)
	for i := range shares {
		shares[i] = make([]float64, length)
		from, to := i*length/n, (i+1)*length/n
		for j := from; j < to; j++ {
			shares[i][j] = 1 / float64(to-from)
		}
	}
	return shares
}

// Reward returns r as a graph function. It panics with Validate's error.
func (b BlockAverage) Reward() Reward {
	if err := b.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		switch x.Rank() {
		case 2:
			x = InsertAxes(x, 1, -1)
		case 3:
			x = InsertAxes(x, -1)
		case 4:
		default:
			Panicf("reward block_average: samples must be [n, height, width, channels], got %s", x.Shape())
		}
		height, width := x.Shape().Dim(1), x.Shape().Dim(2)
		if err := b.check(height, width); err != nil {
			panic(err)
		}
		g, dtype := x.Graph(), x.DType()
		averages := Einsum("nhw,rh->nrw", ReduceMean(x, -1), ConstAsDType(g, dtype, blocks(height, b.Rows)))
		averages = Einsum("nrw,cw->nrc", averages, ConstAsDType(g, dtype, blocks(width, b.Columns)))
		residual := Sub(flat(averages), ConstAsDType(g, dtype, [][]float64{b.Y}))
		return MulScalar(ReduceSum(Square(residual), 1), -0.5/(b.Sigma*b.Sigma))
	})
}

// StrokeMass prefers images by the mean m(x) of their intensities (x+1)/2 over all pixels, for
// digits the mass of their strokes, in units of its standard deviation over the data:
//
//	r(x) = -(z - Target)²/(2 Width²),   z = (m(x) - Mean)/Std.
//
// Std and Width must be positive.
type StrokeMass struct {
	Mean   float64 `json:"mean"` // of m(x) over the data
	Std    float64 `json:"std"`
	Target float64 `json:"target"`
	Width  float64 `json:"width"`
}

// Validate returns an error that names the first invalid value.
func (s StrokeMass) Validate() error {
	return cmp.Or(
		hold("stroke_mass", "mean", s.Mean), positive("stroke_mass", "std", s.Std),
		hold("stroke_mass", "target", s.Target), positive("stroke_mass", "width", s.Width),
	)
}

// Reward returns r as a graph function. It panics with Validate's error.
func (s StrokeMass) Reward() Reward {
	if err := s.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		intensity := MulScalar(AddScalar(ReduceMean(flat(x), 1), 1), 0.5)
		z := DivScalar(AddScalar(intensity, -s.Mean), s.Std)
		return MulScalar(Square(DivScalar(AddScalar(z, -s.Target), s.Width)), -0.5)
	})
}
