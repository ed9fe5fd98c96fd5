package figure

import (
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/janpfeifer/gonb/gonbui"
)

// explorerPage is the page of the widget, with places for the mixture, the initial state and the
// samples of a map.
//
//go:embed explorer.html
var explorerPage string

// explorerExtent is the largest coordinate in the panels of the widget, and minus the smallest.
const explorerExtent = 6

// Explorer is an interactive figure of the posteriors of a mixture in the plane, for the linear
// schedule: sliders, and a context x_t to drag. With sliders for t and s it shows the distribution
// of Ī_s given x_t with its drift b̄_s. With a Map, and sliders for t and x_t, it shows the
// posterior with samples of the map. The browser computes the closed forms, and the samples are in
// the page, so that it needs no kernel. Front ends that run no scripts show a line of text instead.
type Explorer struct {
	// Mixture is the distribution of the data. Its JSON has "weights" [n], "means" [n][2] and
	// "covariances" [n][2][2].
	Mixture json.Marshaler
	// T and S are the initial positions of the sliders, in [0, 1].
	T, S float64
	// X is the initial context.
	X [2]float64
	// Map has the samples of a map. Nil means the drift b̄_s instead.
	Map *MapSamples
}

// MapSamples are posterior samples of a map for each of the given times and states of the context.
type MapSamples struct {
	// T are the times in [0, 1], rising, and X the states, [n][2], in the order of the slider.
	T []float64
	X [][]float64
	// Sample returns the samples given (t, x), [n][2], in the same number for all. From the same
	// noise for all, they move with the context. Each takes four bytes of the page; coordinates
	// beyond ±6 are drawn there.
	Sample func(t float64, x []float64) ([][]float64, error)
}

// HTML returns the widget. It returns an error if the mixture is not two-dimensional, if T or S is
// outside [0, 1], or if the samples of Map are invalid.
func (e Explorer) HTML() (string, error) {
	if e.Mixture == nil {
		return "", fmt.Errorf("figure: explorer: Mixture is nil")
	}
	if !(e.T >= 0 && e.T <= 1 && e.S >= 0 && e.S <= 1) {
		return "", fmt.Errorf("figure: explorer: T = %g and S = %g, want both in [0, 1]", e.T, e.S)
	}
	raw, err := e.Mixture.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("figure: explorer: %w", err)
	}
	var mixture struct{ Means [][]float64 }
	if err := json.Unmarshal(raw, &mixture); err != nil {
		return "", fmt.Errorf("figure: explorer: %w", err)
	}
	if len(mixture.Means) == 0 || len(mixture.Means[0]) != 2 {
		return "", fmt.Errorf("figure: explorer: the means %v of the mixture are not two-dimensional", mixture.Means)
	}
	start, err := json.Marshal(map[string]any{"t": e.T, "s": e.S, "x": e.X, "extent": explorerExtent})
	if err != nil {
		return "", fmt.Errorf("figure: explorer: %w", err)
	}
	grid, err := e.Map.encode()
	if err != nil {
		return "", fmt.Errorf("figure: explorer: Map: %w", err)
	}
	page := strings.NewReplacer("{{mixture}}", string(raw), "{{start}}", string(start), "{{grid}}", string(grid)).
		Replace(explorerPage)
	// In an iframe its names cannot collide with those of other cells.
	return fmt.Sprintf(`<iframe title="posteriors of a mixture, interactive" sandbox="allow-scripts" `+
		`style="width:100%%;max-width:860px;height:540px;border:0" srcdoc="%s">`+
		`This interactive figure needs a front end that runs scripts.</iframe>`, html.EscapeString(page)), nil
}

// Show displays the widget below the cell of a GoNB notebook. Outside a notebook it displays
// nothing. It returns the errors of [Explorer.HTML].
func (e Explorer) Show() error {
	s, err := e.HTML()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(s)
	return displayError()
}

// encode returns the samples as JSON: the times "t", the states "x", the number of samples "n" for
// each, and "points", base64 of their coordinates as 16-bit integers. It is null for no samples.
func (m *MapSamples) encode() ([]byte, error) {
	if m == nil {
		return []byte("null"), nil
	}
	if len(m.T) == 0 || len(m.X) == 0 || m.Sample == nil {
		return nil, fmt.Errorf("%d times, %d states, Sample given: %t; want all of them",
			len(m.T), len(m.X), m.Sample != nil)
	}
	var points []byte
	n := 0
	for i, t := range m.T {
		if !(t >= 0 && t <= 1) || i > 0 && t <= m.T[i-1] {
			return nil, fmt.Errorf("T = %v, want rising times in [0, 1]", m.T)
		}
		for j, x := range m.X {
			if !finitePair(x) {
				return nil, fmt.Errorf("X[%d] = %v, want two finite coordinates", j, x)
			}
			samples, err := m.Sample(t, x)
			if err != nil {
				return nil, fmt.Errorf("sampling given x = %v at t = %g: %w", x, t, err)
			}
			if i == 0 && j == 0 {
				n = len(samples)
			}
			if len(samples) != n || n == 0 {
				return nil, fmt.Errorf("%d samples given x = %v at t = %g, want %d, and at least one",
					len(samples), x, t, max(n, 1))
			}
			for _, p := range samples {
				if !finitePair(p) {
					return nil, fmt.Errorf("sample %v given x = %v at t = %g, want two finite coordinates", p, x, t)
				}
				points = appendPoint(points, p)
			}
		}
	}
	return json.Marshal(map[string]any{
		"t": m.T, "x": m.X, "n": n, "points": base64.StdEncoding.EncodeToString(points),
	})
}

// appendPoint appends both coordinates of p as 16-bit integers, from 0 for -6 to 65,535 for 6.
func appendPoint(b []byte, p []float64) []byte {
	for _, v := range p {
		share := (min(max(v/explorerExtent, -1), 1) + 1) / 2
		b = binary.LittleEndian.AppendUint16(b, uint16(math.Round(share*math.MaxUint16)))
	}
	return b
}

func finitePair(x []float64) bool { return len(x) == 2 && finite(x[0]) && finite(x[1]) }
