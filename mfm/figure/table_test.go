package figure

import (
	"strings"
	"testing"
)

var results = Table{
	Caption: "SW₂ of X_{0,1}",
	Header:  []string{"loss", "excess", "diverged"},
	Rows: [][]string{
		{"semigroup", "0.043 ± 0.002", "0/3"},
		{"a|b <c>", "−1.5", "—"},
	},
	Align:  []Align{AlignAuto, AlignAuto, AlignCenter},
	Strong: []int{0},
}

func TestTableHTML(t *testing.T) {
	got, err := results.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SW<sub>2</sub> of X<sub>0,1</sub>",
		`text-align:left">loss</th>`, `text-align:right">excess</th>`, `text-align:center">diverged</th>`,
		"<b>semigroup</b>", "a|b &lt;c&gt;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestTableMarkdown(t *testing.T) {
	const want = `SW₂ of X_{0,1}

| loss          |            excess | diverged |
| ------------- | ----------------: | :------: |
| **semigroup** | **0.043 ± 0.002** | **0/3**  |
| a\|b <c>      |              −1.5 |    —     |
`
	if got, err := results.Markdown(); err != nil || got != want {
		t.Errorf("error %v,\n%s\nwant\n%s", err, got, want)
	}
}

func TestTableText(t *testing.T) {
	const want = `SW₂ of X_0,1
loss              excess  diverged
─────────  ─────────────  ────────
semigroup  0.043 ± 0.002    0/3     *
a|b <c>             −1.5     —
`
	if got, err := results.Text(); err != nil || got != want {
		t.Errorf("error %v,\n%s\nwant\n%s", err, got, want)
	}
	if results.Rows[0][0] != "semigroup" || results.Header[0] != "loss" {
		t.Error("the table itself was changed")
	}
}

func TestTableAlign(t *testing.T) {
	for _, tc := range []struct {
		cells string
		want  Align
	}{
		{"1 2.5 −3 ±4 51% 1e-3 —", AlignRight}, {"1 two", AlignLeft}, {"— -", AlignLeft}, {"", AlignLeft}, {"<0.01 12×", AlignRight},
	} {
		table := Table{Header: []string{"x"}}
		for _, s := range strings.Fields(tc.cells) {
			table.Rows = append(table.Rows, []string{s})
		}
		if got := table.align(0); got != tc.want {
			t.Errorf("%q: alignment %d, want %d", tc.cells, got, tc.want)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for _, tc := range []struct {
		table Table
		want  string
	}{
		{Table{}, "no Header"},
		{Table{Header: []string{"a", "b"}, Rows: [][]string{{"1", "2"}, {"1"}}}, "row 1 has 1 cells under a Header of 2"},
		{Table{Header: []string{"a"}, Align: []Align{AlignLeft, AlignLeft}}, "2 of Align for 1 columns"},
		{Table{Header: []string{"a"}, Align: []Align{7}}, "Align = 7"},
		{Table{Header: []string{"a"}, Strong: []int{0}}, "Strong row 0 of 0"},
	} {
		for name, write := range map[string]func() (string, error){"HTML": tc.table.HTML, "Markdown": tc.table.Markdown, "Text": tc.table.Text} {
			if _, err := write(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
			}
		}
		if err := tc.table.Show(); err == nil {
			t.Errorf("Show: no error for %q", tc.want)
		}
	}
	if err := results.Show(); err != nil {
		t.Error(err)
	}
}
