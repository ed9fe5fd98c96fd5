package figure

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"strings"

	"github.com/janpfeifer/gonb/gonbui"
)

// explorerPage is the widget, with the places of the mixture and of the page itself, escaped, in it.
//
//go:embed explorer.html
var explorerPage string

// Explorer is an interactive picture of the posteriors of a mixture in the plane, for the linear schedule: sliders for t and
// s, and a context x_t to drag. It shows the law of Ī_s given x_t with its drift b̄_s, and computes it in the browser by
// the closed form, so that it needs no kernel. Front ends that run no scripts show a line of text instead.
type Explorer struct {
	// Mixture is the law of the data; its JSON has "weights" [n], "means" [n][2] and "covariances" [n][2][2].
	Mixture json.Marshaler
	T, S    float64    // where the sliders start, in [0, 1]
	X       [2]float64 // where the context starts
	Extent  float64    // the axes go from -Extent to Extent; 0 means 6
}

// HTML returns the widget. It returns an error for a mixture that is not in the plane and for values out of range.
func (e Explorer) HTML() (string, error) {
	if e.Mixture == nil {
		return "", fmt.Errorf("figure: explorer: Mixture is nil")
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
		return "", fmt.Errorf("figure: explorer: the mixture is not one in the plane: means %v", mixture.Means)
	}
	if e.Extent == 0 {
		e.Extent = 6
	}
	start, err := json.Marshal(map[string]any{"t": e.T, "s": e.S, "x": e.X, "extent": e.Extent})
	if err != nil {
		return "", fmt.Errorf("figure: explorer: %w", err)
	}
	if !(e.T >= 0 && e.T <= 1 && e.S >= 0 && e.S <= 1 && e.Extent > 0) {
		return "", fmt.Errorf("figure: explorer: T = %g and S = %g must lie in [0, 1], Extent = %g must be positive", e.T, e.S, e.Extent)
	}
	page := strings.NewReplacer("{{mixture}}", string(raw), "{{start}}", string(start)).Replace(explorerPage)
	// A frame of its own: its names meet no other cell's, and notebooks run the scripts of a frame wherever they run any.
	return fmt.Sprintf(`<iframe title="posteriors of a mixture, interactive" style="width:100%%;max-width:860px;height:520px;border:0" sandbox="allow-scripts" srcdoc="%s">`+
		`An interactive picture; this front end shows none.</iframe>`, html.EscapeString(page)), nil
}

// Show displays the widget below the cell of a GoNB notebook. Elsewhere it displays nothing.
func (e Explorer) Show() error {
	s, err := e.HTML()
	if err != nil {
		return err
	}
	gonbui.DisplayHTML(s)
	return displayError()
}
