package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomfm/gomfm/mfm/figure"
)

// digitSamples are posterior samples of images, each flat, [height, width, channels] with values of about [-1, 1].
type digitSamples struct {
	T        float64       `json:"t"`
	Shape    []int         `json:"shape"`
	Contexts [][]float32   `json:"contexts"` // x_t, [contexts][pixels]
	Samples  [][][]float32 `json:"samples"`  // [contexts][samples][pixels]
}

func sampleDigits(ctx context.Context, s *shell, args []string) error {
	f := newSamplerFlags("sample digits")
	folder := f.withData()
	t := f.Float64("t", 0, "`time` of the contexts, noised held-out images; 0: samples without one")
	contexts := f.Int("contexts", 4, "`number` of contexts, a row each")
	n := f.Int("n", 12, "`number` of samples for each context")
	seed := f.Int64("seed", 0, "`seed` of the noise")
	class := f.Int("class", -1, "`number` of the class to draw, of a map that has classes (default: any)")
	guidance := f.Float64("guidance", 1, "`scale` of classifier-free guidance toward --class, by --method ode or sde")
	out := f.String("out", "", "PNG, SVG or PDF `file` to draw the samples to")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	if *out == "" && !*f.json {
		return invalidf("--out is missing: name a PNG file, or take --json")
	}
	if err := checkTime(*t); err != nil {
		return err
	}
	if err := checkCount("contexts", *contexts); err != nil {
		return err
	}
	if err := checkCount("n", *n); err != nil {
		return err
	}
	f.warn(s)
	run, err := f.openDigits(*folder)
	if err != nil {
		return err
	}
	if *contexts > run.heldOut.N {
		return invalidf("--contexts = %d: there are %d held-out images", *contexts, run.heldOut.N)
	}
	config.Classes = run.Config.Network.Classes
	if *class < -1 || *class >= config.Classes {
		return invalidf("--class = %d: the map has %d classes", *class, config.Classes)
	}
	if !(*guidance >= 0) {
		return invalidf("--guidance = %g: must not be negative", *guidance)
	}
	if err := run.checkNoClass(*class < 0 || *guidance != 1); err != nil {
		return err
	}
	if *guidance != 1 && *class < 0 {
		return invalidf("--guidance = %g: name the class to guide to with --class", *guidance)
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	sampler, err := run.sampler(b, config, *guidance)
	if err != nil {
		return invalid{err}
	}
	x := run.Contexts(run.heldOut, *t, *contexts, rand.New(rand.NewPCG(uint64(*seed), 0)))
	var labels []int32
	if *class >= 0 {
		labels = slices.Repeat([]int32{int32(*class)}, *contexts)
	}
	flat, err := sampler.Posterior(ctx, *seed, *t, x, *n, labels)
	if err != nil {
		return err
	}
	size := run.Data.Dim()
	samples := digitSamples{T: *t, Shape: run.Shape(), Contexts: slices.Collect(slices.Chunk(x, size))}
	for row := range slices.Chunk(flat, *n*size) {
		samples.Samples = append(samples.Samples, slices.Collect(slices.Chunk(row, size)))
	}
	if *out != "" {
		if err := samples.draw(*out); err != nil {
			return err
		}
	}
	if *f.json {
		return writeJSON(s.stdout, samples)
	}
	fmt.Fprintf(s.stdout, "%s: %d rows of %d samples at t = %g\n", *out, *contexts, *n, *t)
	return nil
}

// draw writes a grid with a row for each context: x_t, then its samples. At t = 0, where x_t says nothing, samples alone.
func (d digitSamples) draw(path string) error {
	var pixels []float32
	cols, gaps := len(d.Samples[0]), []int(nil)
	if d.T > 0 {
		cols, gaps = cols+1, []int{0}
	}
	for i, row := range d.Samples {
		if d.T > 0 {
			pixels = append(pixels, d.Contexts[i]...)
		}
		pixels = append(pixels, slices.Concat(row...)...)
	}
	fig := figure.New(figure.Paper(), 1, 1)
	fig.Panel(0, 0).Add(figure.Images{Pixels: pixels, N: cols * len(d.Samples), H: d.Shape[0], W: d.Shape[1], C: d.Shape[2], Cols: cols, Gaps: gaps})
	return fig.Save(path)
}
