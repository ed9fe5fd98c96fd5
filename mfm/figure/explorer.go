package figure

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"strings"

	"github.com/janpfeifer/gonb/gonbui"
)

// explorerPage is the page of the widget, with places for the mixture and the initial state.
//
//go:embed explorer.html
var explorerPage string

// Explorer is an interactive figure of the posteriors of a mixture in the plane, for the linear
// schedule: sliders for t and s, and a context x_t to drag. It shows the distribution of Ī_s given
// x_t with its drift b̄_s. The browser computes both in closed form, so that it needs no kernel.
// Front ends that run no scripts show a line of text instead.
type Explorer struct {
	// Mixture is the distribution of the data. Its JSON has "weights" [n], "means" [n][2] and
	// "covariances" [n][2][2].
	Mixture json.Marshaler
	// T and S are the initial positions of the sliders, in [0, 1].
	T, S float64
	// X is the initial context.
	X [2]float64
}

// HTML returns the widget. It returns an error if the mixture is not two-dimensional or if T or S
// is outside [0, 1].
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
	start, err := json.Marshal(map[string]any{"t": e.T, "s": e.S, "x": e.X, "extent": 6})
	if err != nil {
		return "", fmt.Errorf("figure: explorer: %w", err)
	}
	page := strings.NewReplacer("{{mixture}}", string(raw), "{{start}}", string(start)).Replace(explorerPage)
	// In an iframe its names cannot collide with those of other cells.
	return fmt.Sprintf(`<iframe title="posteriors of a mixture, interactive" sandbox="allow-scripts" `+
		`style="width:100%%;max-width:860px;height:520px;border:0" srcdoc="%s">`+
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
