package gmm_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/gmm"
)

func TestJSONRoundTrip(t *testing.T) {
	all := regular(t)
	all["degenerate"] = degenerate(t)
	for name, m := range all {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "mixture.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := gmm.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+": weights", got.Weights(), m.Weights(), 1e-15)
		for k := range m.Len() {
			gotMean, gotCov := got.Component(k)
			mean, cov := m.Component(k)
			near(t, name+": mean", gotMean, mean, 0)
			for i := range cov {
				near(t, name+": covariance", gotCov[i], cov[i], 1e-14)
			}
		}
		var embedded struct{ Mixture *gmm.Mixture }
		if err := json.Unmarshal([]byte(`{"Mixture": `+string(data)+`}`), &embedded); err != nil {
			t.Fatal(err)
		}
		near(t, name+": embedded mean", embedded.Mixture.Mean(), m.Mean(), 1e-14)
	}
}

// A posterior weight that underflows to zero is not written, so that the JSON can be read.
func TestJSONOfPosterior(t *testing.T) {
	points, err := gmm.Points([][]float64{{0, 0}, {3, 3}})
	if err != nil {
		t.Fatal(err)
	}
	post := points.Posterior(linear{}, 0.999, []float64{3, 3})
	data, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gmm.FromJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mean", got.Mean(), post.Mean(), 1e-14)
}

func TestJSONErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {``, "ends too early"},
		"not JSON":      {`weights`, "invalid character"},
		"not an object": {`[1]`, "a list where an object is required"},
		"null":          {`null`, "null where an object is required"},
		"unknown key":   {`{"weights": [1], "means": [[0]], "covariances": [[[1]]], "x": 1}`, `x: unknown key: use one of covariances, means, weights`},
		"missing key":   {`{"weights": [1], "means": [[0]]}`, `lacks the key "covariances"`},
		"null entry":    {`{"weights": [1], "means": [[null]], "covariances": [[[1]]]}`, "means[0][0]: null where a number is required"},
		"a string":      {`{"weights": ["1"], "means": [[0]], "covariances": [[[1]]]}`, `weights[0]: "1" where a number is required`},
		"overflow":      {`{"weights": [1e999], "means": [[0]], "covariances": [[[1]]]}`, "weights[0]: 1e999 is out of range"},
		"trailing":      {`{"weights": [1], "means": [[0]], "covariances": [[[1]]]} {}`, "text after the JSON value"},
		"cut off":       {`{"weights": [1], "means": [[0]], "covar`, "ends too early"},
		"other case":    {`{"Weights": [1], "means": [[0]], "covariances": [[[1]]]}`, "did you mean weights?"},
		"repeated":      {`{"weights": [1], "weights": [2]}`, "weights: the key is repeated"},
		"mean of 1e20":  {`{"weights": [1], "means": [[0, 1e20]], "covariances": [[[1, 0], [0, 1]]]}`, "entry 1 of mean 0 of the mixture is 1e+20"},
		"mean of 1e39":  {`{"weights": [1], "means": [[-1e39]], "covariances": [[[1]]]}`, "mean 0 of the mixture is -1e+39"},
		"variance":      {`{"weights": [1], "means": [[0]], "covariances": [[[1e20]]]}`, "covariance 0 of the mixture has 1e+20 at (0, 0)"},
		"weight":        {`{"weights": [1, 1e39], "means": [[0], [1]], "covariances": [[[1]], [[1]]]}`, "weight 1 of the mixture is 1e+39"},
		"impossible":    {`{"weights": [1], "means": [[0]], "covariances": [[[-1]]]}`, "eigenvalue -1"},
	} {
		_, err := gmm.FromJSON([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, c.want)
		}
	}
	_, err := gmm.ReadFile(filepath.Join(t.TempDir(), "none.json"))
	if err == nil || !strings.Contains(err.Error(), "none.json") {
		t.Errorf("error %v for a missing file, want one that names it", err)
	}
	points, err := gmm.Points([][]float64{make([]float64, 4000)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(points); err == nil || !strings.Contains(err.Error(), "too many for JSON") {
		t.Errorf("error %v for 16 million entries, want one about their number", err)
	}
}

// For any bytes the reader returns a mixture that can be written and read again, or an error of one
// line.
func FuzzFromJSON(f *testing.F) {
	for _, seed := range []string{
		`{"weights": [1, 2], "means": [[0, 0], [3, 3]], "covariances": [[[1, 0], [0, 1]], [[0.5, 0.1], [0.1, 0.2]]]}`,
		`{"weights": [1], "means": [[0]], "covariances": [[[0]]]}`,
		`{"weights": [1e-320], "means": [[1e18]], "covariances": [[[1e18]]]}`,
		`{"weights": [1], "means": [[0, 0]], "covariances": [[[1, 1], [1, 1]]]}`,
		`{"weights": [], "means": [], "covariances": []}`,
		`{"weights": [null], "means": [[]], "covariances": [[[]]]}`,
		`{"x\n": 1}`, `null`, `{`, `[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *gmm.Mixture
		err := fuzztest.Read(t, len(data), 256, func() (err error) {
			m, err = gmm.FromJSON(data)
			return err
		})
		if err != nil {
			return
		}
		m.Posterior(linear{}, 0.5, m.Mean()).Drift(linear{}, 0.5, m.Mean())
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gmm.FromJSON(text); err != nil {
			t.Fatalf("reading back %s: %v", text, err)
		}
	})
}

// The mixtures in the data folder can be read.
func TestShippedMixtures(t *testing.T) {
	paths, err := filepath.Glob("../../data/mixtures/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("mixtures %v, %v", paths, err)
	}
	for _, path := range paths {
		if m, err := gmm.ReadFile(path); err != nil || m.Dim() != 2 || m.Len() < 4 {
			t.Errorf("%s: %v", path, err)
		}
	}
}
