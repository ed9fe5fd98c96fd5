package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/pretrained"
)

// maxParityError is the largest relative error with which an output counts as equal.
const maxParityError = 1e-4

func weightsCommand() *cobra.Command {
	return group("weights", "inspect files of weights",
		leaf("inspect FILE", "list the names, types and shapes of a file's tensors", weightsInspect),
	)
}

// parity compares a network with the outputs of its original in a file of reference values.
func parity(c *command) prepare {
	c.withOutput()
	return func() (work, error) {
		r, err := pretrained.ReadReference(c.Flags().Arg(0))
		return func(_ context.Context, b compute.Backend) error {
			errs, err := pretrained.Parity(b, r)
			if err != nil {
				return invalid{err}
			}
			outputs := make(map[string]float64, len(errs))
			text, worst := "", []error(nil)
			for _, name := range slices.Sorted(maps.Keys(errs)) {
				key := "out." + name
				outputs[key] = errs[name]
				text += fmt.Sprintf("%-20s %.2g\n", key, errs[name])
				if !(errs[name] <= maxParityError) {
					worst = append(worst, fmt.Errorf("%s: relative error %.3g, more than %g", key, errs[name], maxParityError))
				}
			}
			if err := c.write(outputs, text); err != nil {
				return err
			}
			return errors.Join(worst...)
		}, err
	}
}

// tensorSummary describes a tensor of a file.
type tensorSummary struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

func weightsInspect(c *command) prepare {
	c.withJSON()
	return func() (work, error) {
		tensors, _, err := pretrained.Open(c.Flags().Arg(0))
		return func(context.Context, compute.Backend) error {
			var all []tensorSummary
			elements := 0
			for _, name := range slices.Sorted(maps.Keys(tensors)) {
				shape := tensors[name].Shape()
				all = append(all, tensorSummary{name, shape.DType.String(), shape.Dimensions})
				elements += shape.Size()
			}
			text := table[tensorSummary]{columns: columns(func(s tensorSummary) []any {
				return []any{s.Name, s.Type, s.Shape}
			}, "name %s", "type %s", "shape %v")}.text(all)
			return c.write(all, text+fmt.Sprintf("%d tensors, %d elements\n", len(all), elements))
		}, err
	}
}
