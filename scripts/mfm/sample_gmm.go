package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/train"
)

func sampleGMM(ctx context.Context, s *shell, args []string) error {
	f := newSamplerFlags("sample gmm")
	t := f.Float64("t", 0, "`time` of the context, in [0, 1]")
	at := f.String("x", "", "the context x_t, numbers separated by commas, such as `1.5,-0.5` (default: zeros)")
	n := f.Int("n", 16, "`number` of samples")
	seed := f.Int64("seed", 0, "`seed` of the noise")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	if err := checkTime(*t); err != nil {
		return err
	}
	if err := checkCount("n", *n); err != nil {
		return err
	}
	f.warn(s)
	e, store, err := experiment.OpenGMM(*f.checkpoint)
	if err != nil {
		return invalid{err}
	}
	if store, err = f.weights(store); err != nil {
		return err
	}
	dim := e.Config.Mixture.Dim()
	x := make([]float32, dim)
	if *at != "" {
		if x, err = numbers(*at); err != nil {
			return invalidf("--x: %w", err)
		}
		if len(x) != dim {
			return invalidf("--x has %d numbers, the mixture has %d dimensions", len(x), dim)
		}
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	sampler, err := mfm.NewSampler(b, store, train.WeightsScope, e.Map, e.Shape(), config)
	if err != nil {
		return invalid{err}
	}
	flat, err := sampler.Posterior(ctx, *seed, *t, x, *n, nil)
	if err != nil {
		return err
	}
	samples := slices.Collect(slices.Chunk(flat, dim))
	if *f.json {
		return writeJSON(s.stdout, samples)
	}
	for _, sample := range samples {
		fmt.Fprintln(s.stdout, strings.Trim(fmt.Sprint(sample), "[]"))
	}
	return nil
}
