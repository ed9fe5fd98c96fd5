// Package figure draws every figure of the project with one theme, on gonum/plot: inline in a GoNB notebook
// ([Figure.Show]) or to a PNG, SVG or PDF file ([Figure.Save]).
//
// A [Figure] is a grid of panels. A [Panel] has a title, two labelled axes and a stack of layers; a [Layer] is a plain
// struct that holds its data and its name:
//
//	fig := figure.New(figure.Notebook(), 1, 1)
//	p := fig.Panel(0, 0)
//	p.X.Label, p.Y.Label = "t", "SW₂"
//	p.Add(
//		figure.Line{Name: "semigroup", X: t, Y: mean, Band: se},
//		figure.HLine{Y: floor, Label: "sampling floor"},
//	)
//	err := fig.Save("sw2.svg")
//
// The layers are [Scatter], [Density], [Line], [Trace], [HLine], [VLine], [Bars], [Quiver], [Paths], [Images], and
// [Custom] for any other plotter of gonum. A name has one colour in all panels of a figure, and one entry in the legend
// below them. [Table] writes numbers, [Live] is a loss curve that grows in a notebook while something trains.
//
// Labels are plain Unicode, Greek letters and mathematical signs included. Unicode subscripts and superscripts are
// typeset as such (x₁, xₜ, W₂, 10⁻³), and so is whatever stands in _{...} or ^{...}: "X_{0,1}(ε; t, xₜ)".
//
// Nothing is checked while a figure is put together: what is wrong with it (an axis without a label, a layer without a
// name, NaN, lengths that do not match) is the error of the call that draws it.
package figure
