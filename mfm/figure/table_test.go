package figure

import (
	"strings"
	"testing"
)

var results = Table{
	Caption: "SW₂ of X₀₁",
	Header:  []string{"loss", "excess", "diverged"},
	Rows: [][]string{
		{"semigroup", "0.043 ± 0.002", "0/3"},
		{"a|b <c>", "−1.5", "—"},
	},
}

func TestTableHTML(t *testing.T) {
	got, err := results.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SW₂ of X₀₁",
		`text-align:left">loss</th>`, `text-align:right">excess</th>`, `text-align:right">0/3</td>`,
		">semigroup</td>", "a|b &lt;c&gt;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestTableAlign(t *testing.T) {
	for _, tc := range []struct {
		cells string
		want  string
	}{
		{"1 2.5 −3 ±4 51% 1e-3 —", "right"}, {"1 two", "left"}, {"— -", "left"}, {"", "left"}, {"<0.01 12×", "right"},
	} {
		table := Table{Header: []string{"x"}}
		for _, s := range strings.Fields(tc.cells) {
			table.Rows = append(table.Rows, []string{s})
		}
		if got := table.align(0); got != tc.want {
			t.Errorf("%q: alignment %q, want %q", tc.cells, got, tc.want)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for _, tc := range []struct {
		table Table
		want  string
	}{
		{Table{}, "no Header"},
		{Table{Header: []string{"a", "b"}, Rows: [][]string{{"1", "2"}, {"1"}}},
			"row 1 has 1 cells under a Header of 2"},
	} {
		if _, err := tc.table.HTML(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("HTML: error %v, want one with %q", err, tc.want)
		}
		if err := tc.table.Show(); err == nil {
			t.Errorf("Show: no error for %q", tc.want)
		}
	}
	if err := results.Show(); err != nil {
		t.Error(err)
	}
}
