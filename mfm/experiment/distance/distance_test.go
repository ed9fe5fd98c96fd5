package distance_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/metric"
)

// reference are the distances of testdata/make_references.py.
type reference struct {
	Frechet, Kernel, Precision, Recall float64
	KernelOfWhole                      float64 `json:"kernel_of_whole"`
	KernelStd                          float64 `json:"kernel_std"`
}

func references(t *testing.T) (all struct{ Small, Wide reference }) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "distances.json"))
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// features are those of testdata/make_references.py.
func features(n, dim int, phase float64) [][]float64 {
	rows := make([][]float64, n)
	for i := range rows {
		for j := range dim {
			x, y := float64(i), float64(j)
			rows[i] = append(rows[i], math.Sin(1.7*x+0.3*y*y+phase)+0.5*math.Cos(0.37*x*y)+phase*math.Sin(2.3*x*x))
		}
	}
	return rows
}

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.12g, want %.12g", name, got, want)
	}
}

// The distances are those of pytorch-fid, torch-fidelity and NumPy: Fréchet distance, precision and
// recall, the kernel distance of whole sets, and up to statistics that over random subsets.
func TestOfFeatures(t *testing.T) {
	all := references(t)
	for name, c := range map[string]struct {
		dim  int
		want reference
	}{"small": {5, all.Small}, "wide": {40, all.Wide}} {
		t.Run(name, func(t *testing.T) {
			a, b := features(90, c.dim, 0), features(70, c.dim, 1)
			config := distance.DefaultConfig()
			config.KernelSubsets = metric.KernelSubsets{Subsets: 1000, Size: 20}
			r, err := distance.OfFeatures(t.Context(), a, b, config)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "Fréchet distance", r.Frechet, c.want.Frechet, 1e-7*c.want.Frechet)
			near(t, "precision", r.Precision, c.want.Precision, 1e-12)
			near(t, "recall", r.Recall, c.want.Recall, 1e-12)
			// Means over 1,000 subsets differ by their standard errors, deviations by a few percent.
			near(t, "kernel distance", r.Mean, c.want.Kernel, 4*math.Sqrt(2./1000)*c.want.KernelStd)
			near(t, "deviation of the kernel distance", r.Kernel.Std, c.want.KernelStd, 0.15*c.want.KernelStd)
			if r.Samples != 90 || r.Reference != 70 || r.Dim != c.dim || r.Name != distance.Frechet || r.Size != 20 {
				t.Errorf("result %+v", r)
			}
			whole, err := distance.OfFeatures(t.Context(), a[:70], b, distance.DefaultConfig())
			if err != nil || whole.Subsets != 1 || whole.Size != 70 || whole.Kernel.Std != 0 {
				t.Fatalf("whole sets: %+v, error %v", whole, err)
			}
			config.Subsets, config.Neighbors = 0, 0
			if r, err := distance.OfFeatures(t.Context(), a, b, config); err != nil || r.Kernel != nil || r.Manifolds != nil {
				t.Errorf("without kernel distance and neighbors: %+v, error %v", r, err)
			}
			near(t, "kernel distance of the whole", whole.Mean, c.want.KernelOfWhole, 1e-10)
		})
	}
}

// Statistics of NumPy are read, and are written so that the distance from them is that of the
// features.
func TestStatistics(t *testing.T) {
	a, b := features(90, 5, 0), features(70, 5, 1)
	published, err := distance.ReadStatistics(filepath.Join("testdata", "statistics.npz"))
	if err != nil || published.N != 0 {
		t.Fatalf("%d samples, error %v", published.N, err)
	}
	moments := func(rows [][]float64) distance.Statistics {
		m, err := metric.NewMoments(rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		return distance.Statistics{Moments: m, N: len(rows)}
	}
	path := filepath.Join(t.TempDir(), "b.npz")
	if err := distance.WriteStatistics(path, moments(b)); err != nil {
		t.Fatal(err)
	}
	written, err := distance.ReadStatistics(path)
	if err != nil || written.N != 70 {
		t.Fatalf("%d samples, error %v", written.N, err)
	}
	want := references(t).Small.Frechet
	for name, s := range map[string]distance.Statistics{"published": published, "written": written} {
		r, err := distance.OfMoments(moments(a), s)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name, r.Frechet, want, 1e-7*want)
		if text := r.String(); r.Reference != s.N || !strings.Contains(text, "90 samples") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if _, err := distance.OfMoments(moments(features(9, 4, 0)), written); err == nil {
		t.Error("moments of 4 and 5 features have a distance")
	}
}

func TestOfFeaturesErrors(t *testing.T) {
	a := features(9, 3, 0)
	spoiled := features(9, 3, 0)
	spoiled[4][1] = math.NaN()
	ended, stop := context.WithCancel(t.Context())
	stop()
	for want, fails := range map[string]func() error{
		"reference: feature 1 of row 4 is NaN": func() error { return of(t.Context(), a, spoiled, distance.DefaultConfig()) },
		"samples: only 3 features":             func() error { return of(t.Context(), a[:3], a, distance.DefaultConfig()) },
		"samples with 3 features":              func() error { return of(t.Context(), a, features(9, 2, 0), distance.DefaultConfig()) },
		"canceled":                             func() error { return of(ended, a, a, distance.DefaultConfig()) },
		"size = 0":                             func() error { return of(t.Context(), a, a, distance.Config{}) },
	} {
		if err := fails(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func of(ctx context.Context, a, b [][]float64, c distance.Config) error {
	_, err := distance.OfFeatures(ctx, a, b, c)
	return err
}
