package figure_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/figure"
)

type mixtureJSON string

func (m mixtureJSON) MarshalJSON() ([]byte, error) { return []byte(m), nil }

func TestExplorer(t *testing.T) {
	plane := mixtureJSON(`{"weights":[1],"means":[[0,1]],"covariances":[[[1,0],[0,1]]]}`)
	page, err := figure.Explorer{Mixture: plane, T: 0.25, S: 0.5}.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"srcdoc=", "&#34;means&#34;:[[0,1]]", "&#34;t&#34;:0.25", "&#34;extent&#34;:6", "grid = null;",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "{{") {
		t.Error("the page has a placeholder that was not filled in")
	}
	for _, bad := range []figure.Explorer{
		{}, {Mixture: plane, T: 2}, {Mixture: plane, S: -1},
		{Mixture: mixtureJSON("{}")}, {Mixture: mixtureJSON("x")}, {Mixture: mixtureJSON(`{"means":[[1,2,3]]}`)},
	} {
		if _, err := bad.HTML(); err == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
}

// TestExplorerMap checks that the page has the samples for each time and state, in this order, and
// that invalid samples are an error.
func TestExplorerMap(t *testing.T) {
	plane := mixtureJSON(`{"weights":[1],"means":[[0,1]],"covariances":[[[1,0],[0,1]]]}`)
	grid := func() *figure.MapSamples {
		return &figure.MapSamples{
			T: []float64{0, 0.5}, X: [][]float64{{-1, 2}, {3, 4}},
			Sample: func(t float64, x []float64) ([][]float64, error) {
				return [][]float64{{t, x[0]}, {-t, 10 * x[1]}}, nil
			},
		}
	}
	page, err := figure.Explorer{Mixture: plane, Map: grid()}.HTML()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(html.UnescapeString(page), "grid = ")
	var got struct {
		T, X   any
		N      int
		Points string
	}
	if err := json.NewDecoder(strings.NewReader(rest)).Decode(&got); err != nil || got.N != 2 {
		t.Fatalf("the page has a grid of %d samples, error %v, want 2", got.N, err)
	}
	raw, err := base64.StdEncoding.DecodeString(got.Points)
	var points []float64
	for i := 0; i+1 < len(raw); i += 2 {
		v := float64(int(raw[i])+256*int(raw[i+1]))/65535*12 - 6
		points = append(points, math.Round(v*1e3)/1e3+0) // no minus zero
	}
	want := []float64{0, -1, 0, 6, 0, 3, 0, 6, 0.5, -1, -0.5, 6, 0.5, 3, -0.5, 6}
	if err != nil || !slices.Equal(points, want) {
		t.Errorf("points %v, error %v, want %v", points, err, want)
	}

	for name, change := range map[string]func(*figure.MapSamples){
		"no times":     func(m *figure.MapSamples) { m.T = nil },
		"falling":      func(m *figure.MapSamples) { m.T = []float64{0.5, 0.2} },
		"late":         func(m *figure.MapSamples) { m.T = []float64{2} },
		"three":        func(m *figure.MapSamples) { m.X = [][]float64{{1, 2, 3}} },
		"no sampler":   func(m *figure.MapSamples) { m.Sample = nil },
		"no samples":   func(m *figure.MapSamples) { m.Sample = always() },
		"not a number": func(m *figure.MapSamples) { m.Sample = always([]float64{0, math.NaN()}) },
		"failing": func(m *figure.MapSamples) {
			m.Sample = func(float64, []float64) ([][]float64, error) { return nil, errors.New("failed") }
		},
		"uneven": func(m *figure.MapSamples) {
			m.Sample = func(t float64, x []float64) ([][]float64, error) {
				return slices.Repeat([][]float64{x}, 1+int(2*t)), nil
			}
		},
	} {
		m := grid()
		change(m)
		if _, err := (figure.Explorer{Mixture: plane, Map: m}).HTML(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// always returns a sampler that always returns the given samples.
func always(points ...[]float64) func(float64, []float64) ([][]float64, error) {
	return func(float64, []float64) ([][]float64, error) { return points, nil }
}
