package run

import (
	"testing"

	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// reports keeps what a sink receives.
type reports []progress.Report

func (r *reports) Update(one progress.Report)        { *r = append(*r, one) }
func (r *reports) Done(one progress.Report, _ error) { *r = append(*r, one) }

// A training says that it compiles until its first step.
func TestProgressCompiles(t *testing.T) {
	var shown reports
	h := progressHook(&shown, new(runLog), 60)
	if err := h.Start(new(train.Trainer)); err != nil {
		t.Fatal(err)
	}
	if err := h.Step(nil, train.Metrics{Step: 1}); err != nil {
		t.Fatal(err)
	}
	if len(shown) != 2 || shown[0].Doing != "compiling" || shown[1].Doing != "" || shown[1].Step != 1 {
		t.Errorf("reports %+v", shown)
	}
}
