package stress

import (
	"iter"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
)

// A rate is that of the fastest window. A training ends after its last window, before that of the
// next one, and one that ends early is an error.
func TestFastest(t *testing.T) {
	budget := LossBudget{Families: []Family{{Separated, 2, 2, 1}}, Mixture: 1, Seeds: 1}
	turns := budget.settings()[:3]
	for _, most := range []int{windows, 2} {
		running := 0
		measured, err := fastest(turns, func(c LossSetting) iter.Seq2[float64, error] {
			return func(yield func(float64, error) bool) {
				running++
				defer func() { running-- }()
				for window := range most {
					want := len(turns)
					if window == windows-1 { // those after it wait for their last windows
						for i, other := range turns {
							if other.name() == c.name() {
								want = len(turns) - i
							}
						}
					}
					if window > 0 && running != want {
						t.Errorf("%s: %d trainings in window %d, want %d", c.name(), running, window, want)
					}
					if !yield([]float64{2, 5, 3}[window], nil) {
						return
					}
				}
			}
		})
		if most < windows {
			experimenttest.WantError(t, "an early end", err, turns[0].name()+": the training ended after 2 of 3 windows")
			continue
		}
		if err != nil || len(measured) != len(turns) || measured[turns[2].name()] != 5 || running != 0 {
			t.Errorf("rates %v (%v), %d trainings run on", measured, err, running)
		}
	}
}
