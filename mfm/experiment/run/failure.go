package run

import (
	"errors"
	"slices"

	"github.com/gomfm/gomfm/mfm/train"
)

// ErrNonFinite is wrapped by the error of samples with non-finite values.
var ErrNonFinite = errors.New("samples are not finite: the map has diverged")

// OnlyNonFinite reports whether err is about non-finite values alone, in training, among samples or
// in the weights of a run.
// It is false if another error is joined to it, such as that of a checkpoint that could not be
// written.
func OnlyNonFinite(err error) bool {
	return OnlyErrors(err, func(err error) bool {
		switch e := err.(type) {
		case *train.NonFiniteError:
			return true
		case *train.FitError:
			return e.NonFinite
		}
		return err == ErrNonFinite
	})
}

// OnlyErrors reports whether kind holds for every error that err joins: for the error itself or for
// one that it wraps. It is false for nil.
func OnlyErrors(err error, kind func(error) bool) bool {
	if err == nil {
		return false
	}
	if kind(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return OnlyErrors(e.Unwrap(), kind)
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !OnlyErrors(err, kind) })
	}
	return false
}
