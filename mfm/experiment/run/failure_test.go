package run

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gomfm/gomfm/mfm/train"
)

// A divergence alone counts as non-finite values; joined to the error of a checkpoint that could
// not be written, it does not.
func TestOnlyNonFinite(t *testing.T) {
	diverged, full := &train.NonFiniteError{Step: 3, Tensor: "x"}, errors.New("disk is full")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {full, false}, {diverged, true}, {errors.Join(diverged, nil), true},
		{fmt.Errorf("run: %w", errors.Join(errors.Join(diverged))), true},
		{errors.Join(diverged, full), false},
		{errors.Join(fmt.Errorf("run: %w", diverged), fmt.Errorf("saving: %w", full)), false},
	} {
		if got := OnlyNonFinite(c.err); got != c.want {
			t.Errorf("%q: %t, want %t", c.err, got, c.want)
		}
	}
}
