package figure_test

import (
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
	for _, want := range []string{"srcdoc=", "&#34;means&#34;:[[0,1]]", "&#34;t&#34;:0.25", "&#34;extent&#34;:6"} {
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
