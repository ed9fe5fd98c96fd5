package alignment

import (
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// A map that was trained on classes with guidance of one scale alone is steered and tuned with it,
// also without a guidance, and refuses others.
func TestClassScale(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	m.Scales = []float64{2.5}
	var err error
	if m.Model, err = m.GuidedOnly(2.5); err != nil {
		t.Fatal(err)
	}
	s, err := m.To(b, []byte(`{"kind": "brightness", "weight": 4}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	class, c := 1, settings(s, "mfm-g", 1, 1)
	c.Class = &class
	r, err := s.Run(t.Context(), b, c)
	if err != nil || r.Guidance != 2.5 || !r.GuidePosterior {
		t.Errorf("a class is steered with guidance %g (%v)", r.Guidance, err)
	}
	for guidance, fits := range map[float64]bool{0: true, 2.5: true, 1: false, 4: false} {
		c.Guidance = guidance
		if err := s.Check(c); (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "scale 2.5 alone") {
			t.Errorf("steering with guidance %g: %v", guidance, err)
		}
		tuning, err := NewTuning(s, DefaultTuning(), guidance)
		if (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "scale 2.5 alone") {
			t.Errorf("tuning with guidance %g: %v", guidance, err)
		}
		if fits && err == nil && tuning.Guidance != 2.5 {
			t.Errorf("tuning with guidance %g has %g", guidance, tuning.Guidance)
		}
	}
	if c.Class, c.Guidance = nil, 0; s.Check(c) != nil {
		t.Errorf("no class: %v", s.Check(c))
	}
	if r, err := s.Run(t.Context(), b, c); err != nil || r.Guidance != 0 {
		t.Errorf("samples without a class have guidance %g (%v)", r.Guidance, err)
	}
}
