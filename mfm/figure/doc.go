// Package figure draws the figures of the project in one theme, on top of gonum/plot: inline in a
// GoNB notebook ([Figure.Show]) or as a PNG or SVG file ([Figure.Save]).
//
// A [Figure] is a grid of panels. A [Panel] has a title, two labeled axes and a stack of layers. A
// [Layer] is a struct that holds its data and its name:
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
// The layers are [Line], [Trace], [Bars], [Scatter], [Discs], [Density], [Quiver], [Heat] and
// [Images], the references [HLine], [HBand], [VLine] and [Guide], and [Key]. A name has one color in
// all panels of a figure and one entry in the legend below them. A layer with a Style, such as
// "mfm-g", has the label, color and marker of that method, loss or reference in all figures; see
// [Styles]. [Ordered] has the colors of curves by an ordered quantity, such as a time. [Table] shows
// text in rows and columns. [Live] updates a loss curve during training. [Explorer] is an
// interactive figure of the posteriors of a mixture.
//
// Labels are Unicode text, with Greek letters and mathematical signs. Unicode subscripts and
// superscripts (x₁, xₜ, W₂, 10⁻³) are drawn as small letters of the same font.
//
// Fields are not checked when they are set. The call that draws a figure returns an error if an
// axis has no label, a layer has no name, a value is NaN or infinite, or lengths do not match.
package figure
