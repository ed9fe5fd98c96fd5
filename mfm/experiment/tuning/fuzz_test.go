package tuning_test

import (
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/tune"
)

// FuzzEvaluations checks that any file gives an error, or evaluations that are the same after
// writing and reading again.
func FuzzEvaluations(f *testing.F) {
	const good = `[{"step": 100, "lambda": 1, "kl": 0.5, "kl_se": 0.1, "reward": -1, "reward_se": 0.2, "lost": 1,
		"std": 2}]`
	for _, text := range []string{good, good + good, `[]`, `null`, `{}`, `[{"step": 1.5}]`, `[{"spread": 1}]`,
		`[{"std": "a\n"}]`, `[`} {
		f.Add([]byte(text))
	}
	write, dir := fuzztest.File(f, "evaluations.json")
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, content)
		var evaluations []tune.Evaluation
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			evaluations, err = tuning.ReadEvaluations(dir)
			return err
		})
		if err != nil {
			return
		}
		fuzztest.RoundTrip(t, evaluations, func(raw []byte) (any, error) {
			write(t, raw)
			return tuning.ReadEvaluations(dir)
		})
	})
}
