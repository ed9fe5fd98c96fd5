package points

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/report"
)

// Diagnose evaluates the map of the run in dir at o.Contexts of its held-out points, or all of
// fewer, of the file at path or, if that is empty, of the file that the run names. Columns are
// standardized. The drift is compared with nothing, because that of points is not known. Only the
// part of o that configures the evaluation of the map is used.
func Diagnose(ctx context.Context, b compute.Backend, dir, path string, o report.Options) (*diagnose.Report, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, report.InvalidError{Err: err}
	}
	e, store, err := Open(dir)
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	data, err := OfRun(dir, path)
	if err != nil {
		return nil, report.InvalidError{Err: err}
	}
	subject := diagnose.Subject{Model: e.Model(store), Class: data.HeldOut.Classes}
	for _, row := range e.Scale.Standardize(data.HeldOut.Rows) {
		for _, v := range row {
			subject.Data = append(subject.Data, float32(v))
		}
	}
	if n := len(data.HeldOut.Rows); n < 2 {
		return nil, report.InvalidError{Err: fmt.Errorf("%d held-out rows: a diagnosis needs at least 2", n)}
	}
	o.Contexts = min(o.Contexts, len(data.HeldOut.Rows))
	return diagnose.Map(ctx, b, subject, o.Config)
}
