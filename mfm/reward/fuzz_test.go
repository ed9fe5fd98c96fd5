package reward_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// FuzzParse checks that any text gives an error or a reward, and that a reward with a closed form
// is the same after writing and reading again.
func FuzzParse(f *testing.F) {
	const inner = `{"kind": "quadratic", "center": [0], "weight": [1]}`
	for _, kind := range reward.Kinds() {
		example := strings.ReplaceAll(kind.Example, "REWARD", inner)
		f.Add([]byte(example))
		f.Add([]byte(`{"kind": "scaled", "factor": -1e308, "of": ` + example + `}`))
	}
	for _, text := range []string{``, `null`, `[]`, `{"kind": "x\n"}`, `{"kind": "sum", "of": [null]}`,
		`{"kind": "log_mixture", "mixture": null}`, `{"kind": "box", "low": [], "high": [null], "width": 0}`,
		`{"kind": "linear_gaussian", "a": [[]], "y": [], "sigma": -1}`} {
		f.Add([]byte(text))
	}
	classifiers := func(name string) (reward.Logits, int, error) {
		if name != "NAME" {
			return nil, 0, errors.New("no such classifier")
		}
		return func(_ *model.Scope, x *Node) *Node { return x }, 10, nil
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r reward.Reward
		err := fuzztest.Read(t, len(raw), 1<<12, func() (err error) {
			r, err = reward.Parse(raw, classifiers)
			return err
		})
		if (err == nil) != (r != nil) {
			t.Fatalf("reward %v, error %v", r, err)
		}
		exact, exactErr := reward.ParseLinearGaussian(raw)
		if exactErr != nil {
			return
		}
		if err != nil {
			t.Fatalf("ParseLinearGaussian accepts what Parse refuses: %v", err)
		}
		fuzztest.RoundTrip(t, exact, func(raw []byte) (any, error) {
			return reward.ParseLinearGaussian(append([]byte(`{"kind": "linear_gaussian",`), raw[1:]...))
		})
	})
}
