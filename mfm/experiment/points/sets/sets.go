// Package sets has distributions of points that are common tests of generative models, with what is
// needed for the exact posterior of a noised point: the generator itself, or a closed form.
package sets

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// Set is a distribution of points.
type Set struct {
	Name  string
	About string // in a few words
	// Blocks are the independent parts of a point, in the order of its columns.
	Blocks []Block
}

// Block is a part of a point that is independent of the others.
type Block struct {
	Dim int
	// Draw writes one sample of the block to x, [Dim].
	Draw func(rng *rand.Rand, x []float64)
	// Mixture is the distribution of the block if it is a mixture, whose posteriors are closed
	// forms; otherwise nil.
	Mixture *gmm.Mixture
}

// Dim returns the number of columns.
func (s Set) Dim() (dim int) {
	for _, b := range s.Blocks {
		dim += b.Dim
	}
	return dim
}

// Sample returns n independent points, [n][dim].
func (s Set) Sample(rng *rand.Rand, n int) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, s.Dim())
		at := out[i]
		for _, b := range s.Blocks {
			b.Draw(rng, at[:b.Dim])
			at = at[b.Dim:]
		}
	}
	return out
}

// Table returns n points as a table with the columns x0, x1, ...
func (s Set) Table(n int, seed uint64) *tabular.Table {
	t := &tabular.Table{Path: s.Name, Rows: s.Sample(rand.New(rand.NewPCG(seed, 1)), n)}
	for j := range s.Dim() {
		t.Columns = append(t.Columns, "x"+strconv.Itoa(j))
	}
	return t
}

// All returns every set: five in two and three dimensions, and two in eight.
func All() []Set {
	banana := Block{Dim: 2, Draw: banana}
	return []Set{
		{"two-moons", "two half circles with noise 0.05", []Block{{Dim: 2, Draw: twoMoons}}},
		{"pinwheel", "five bent arms", []Block{{Dim: 2, Draw: pinwheel}}},
		{"checkerboard", "eight squares of uniform density", []Block{{Dim: 2, Draw: checkerboard}}},
		{"eight-gaussians", "eight Gaussians on a circle", []Block{mixture(eightGaussians())}},
		{"swiss-roll", "a rolled sheet in three dimensions", []Block{{Dim: 3, Draw: swissRoll}}},
		{"knot-8d", "a closed curve in eight dimensions with noise 0.1", []Block{mixture(knot())}},
		{"bananas-8d", "four independent curved Gaussians", []Block{banana, banana, banana, banana}},
	}
}

// Lookup returns the set of a name. Its error lists the names.
func Lookup(name string) (Set, error) {
	var names []string
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Set{}, fmt.Errorf("set %q is unknown: use %s", name, strings.Join(names, ", "))
}

// twoMoons is that of scikit-learn.
func twoMoons(rng *rand.Rand, x []float64) {
	sin, cos := math.Sincos(math.Pi * rng.Float64())
	if rng.IntN(2) > 0 {
		cos, sin = 1-cos, 0.5-sin
	}
	x[0], x[1] = cos+0.05*rng.NormFloat64(), sin+0.05*rng.NormFloat64()
}

// pinwheel is that of Johnson et al. (Composing graphical models with neural networks, 2016).
func pinwheel(rng *rand.Rand, x []float64) {
	radial, tangential := 1+0.3*rng.NormFloat64(), 0.1*rng.NormFloat64()
	sin, cos := math.Sincos(2*math.Pi*float64(rng.IntN(5))/5 + 0.25*math.Exp(radial))
	x[0], x[1] = 2*(radial*cos-tangential*sin), 2*(radial*sin+tangential*cos)
}

// checkerboard is uniform on the squares of one color of a board of 4 by 4 squares of side 2.
func checkerboard(rng *rand.Rand, x []float64) {
	column, row := rng.IntN(4), 2*rng.IntN(2)
	x[0] = 2*(float64(column)+rng.Float64()) - 4
	x[1] = 2*(float64(row+column%2)+rng.Float64()) - 4
}

func eightGaussians() *gmm.Mixture {
	var means [][]float64
	for k := range 8 {
		sin, cos := math.Sincos(math.Pi * float64(k) / 4)
		means = append(means, []float64{4 * cos, 4 * sin})
	}
	return isotropic(means, 0.5)
}

// swissRoll is that of scikit-learn with noise 0.5.
func swissRoll(rng *rand.Rand, x []float64) {
	angle := 1.5 * math.Pi * (1 + 2*rng.Float64())
	sin, cos := math.Sincos(angle)
	x[0], x[1], x[2] = angle*cos, 21*rng.Float64(), angle*sin
	for i := range x {
		x[i] += 0.5 * rng.NormFloat64()
	}
}

// knot is the curve (cos kθ, sin kθ), k = 1 to 4, with noise of standard deviation 0.1. The mean
// over 512 equidistant angles is that over all, up to rounding: they are 0.07 apart.
func knot() *gmm.Mixture {
	var means [][]float64
	for i := range 512 {
		var mean []float64
		for k := 1.; k <= 4; k++ {
			sin, cos := math.Sincos(2 * math.Pi * k * float64(i) / 512)
			mean = append(mean, cos, sin)
		}
		means = append(means, mean)
	}
	return isotropic(means, 0.1)
}

// banana has the density N(x_0; 0, 1) N(x_1; (x_0² - 1)/2, 0.3²).
func banana(rng *rand.Rand, x []float64) {
	x[0] = rng.NormFloat64()
	x[1] = (x[0]*x[0]-1)/2 + 0.3*rng.NormFloat64()
}

// isotropic returns the mixture of Gaussians of one standard deviation and equal weights.
func isotropic(means [][]float64, deviation float64) *gmm.Mixture {
	covariance := make([][]float64, len(means[0]))
	for i := range covariance {
		covariance[i] = make([]float64, len(covariance))
		covariance[i][i] = deviation * deviation
	}
	weights := slices.Repeat([]float64{1}, len(means))
	m, err := gmm.New(weights, means, slices.Repeat([][][]float64{covariance}, len(means)))
	if err != nil {
		panic(err) // the arguments are constants
	}
	return m
}

// mixture returns the block of a mixture.
func mixture(m *gmm.Mixture) Block {
	draw := func(rng *rand.Rand, x []float64) { copy(x, m.Sample(rng, 1)[0]) }
	return Block{Dim: m.Dim(), Draw: draw, Mixture: m}
}
