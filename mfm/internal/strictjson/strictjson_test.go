package strictjson_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

type inner struct {
	A float64 `json:"a"`
	B *int    `json:"b,omitempty"`
}

// deep is embedded, as parts of configurations are.
type deep struct {
	Deep string `json:"deep"`
	I    string `json:"i"` // hidden by that of outer
}

// named reads itself from a string.
type named string

func (n *named) UnmarshalJSON(raw []byte) error {
	var text string
	if err := strictjson.Decode(raw, &text); err != nil {
		return err
	}
	*n = named("named " + text)
	return nil
}

type outer struct {
	deep
	I      int64             `json:"i"`
	Short  int8              `json:"short"`
	U      uint64            `json:"u"`
	F      float32           `json:"f"`
	Truth  bool              `json:"truth"`
	List   []inner           `json:"list"`
	Pair   [2]int            `json:"pair"`
	At     *inner            `json:"at"`
	Map    map[string]int    `json:"map"`
	Raw    json.RawMessage   `json:"raw"`
	Any    any               `json:"any"`
	Named  named             `json:"named"`
	Hidden int               `json:"-"`
	Names  map[named]float64 `json:"names"`
	Plain  string
}

// Values of every kind are read as encoding/json reads them.
func TestDecodeAsJSON(t *testing.T) {
	const text = ` {"deep": "d\u00e9\n", "i": -9223372036854775808, "short": -128, "u": 18446744073709551615, "f": 1.5e3,
		"truth": true, "list": [{"a": 1e-3, "b": 4}, {}], "pair": [1, 2], "at": {"a": 2}, "map": {"x": 1, "y": 2},
		"raw": {"Any": [null, 1]}, "any": [1, "x", null], "named": "n", "names": {"k": 0.5}, "Plain": "p"}
	`
	var got, want outer
	if err := strictjson.Decode([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

// Keys that are absent keep their values, and what they refer to is not shared with other copies.
func TestDecodeKeeps(t *testing.T) {
	old := outer{Short: 3, At: &inner{A: 5}, Map: map[string]int{"x": 1}, List: []inner{{A: 7}}}
	v := old
	if err := strictjson.Decode([]byte(`{"at": {"b": 4}, "map": {"y": 2}, "list": [{}]}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.Short != 3 || v.At.A != 5 || *v.At.B != 4 || v.Map["x"]+v.Map["y"] != 3 || v.List[0].A != 0 {
		t.Errorf("read %+v", v)
	}
	if old.At.B != nil || len(old.Map) != 1 || old.List[0].A != 7 {
		t.Errorf("the earlier value has changed to %+v", old)
	}
	if err := strictjson.DecodeStored([]byte(`{"at": null, "map": null, "list": null}`), &v); err != nil ||
		v.At != nil || v.Map != nil || v.List != nil {
		t.Errorf("null gives %+v, error %v", v, err)
	}
}

// Integers are exact, however they are written.
func TestDecodeIntegers(t *testing.T) {
	for text, want := range map[string]int64{
		"5e1": 50, "50.0": 50, "-5E+1": -50, "500e-1": 50, "0e99999999999999999999": 0, "-0": 0, "0.0": 0, "1.25e2": 125,
		"9007199254740993": 1<<53 + 1, "9.223372036854775807e18": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		var v int64
		if err := strictjson.Decode([]byte(text), &v); err != nil || v != want {
			t.Errorf("%s is read as %d, error %v; want %d", text, v, err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"I": 1}`:                           `I: unknown key: did you mean i?`,
		`{"lst": []}`:                        `lst: unknown key: did you mean list?`,
		`{"at": {"c": 1, "b": 1}}`:           `at.c: unknown key: use one of a, b`,
		`{"Hidden": 1}`:                      `Hidden: unknown key: use one of`,
		`{"i": 1, "short": 1, "i":2}`:        "i: the key is repeated: give it once",
		`{"raw": [{"x": {"y": 1, "y": 1}}]}`: "raw[0].x.y: the key is repeated",
		`{"any": {"x": 1, "\u0078": 1}}`:     "any.x: the key is repeated",
		`{"i": null}`:                        "i: null where an integer is required",
		`{"f": null}`:                        "f: null where a number is required",
		`{"truth": null}`:                    "truth: null where true or false is required",
		`{"deep": null}`:                     "deep: null where a string is required",
		`{"pair": null}`:                     "pair: null where a list is required",
		`{"named": null}`:                    "named: null where a string is required",
		`{"named": 3}`:                       "named: 3 where a string is required",
		`{"list": [{}, null]}`:               "list[1]: null where an object is required",
		`{"list": [{}, {"a": "1"}]}`:         `list[1].a: "1" where a number is required`,
		`{"at": null}`:                       "at: null where an object is required",
		`{"list": null}`:                     "list: null where a list is required",
		`{"map": null}`:                      "map: null where an object is required",
		`{"list": {}}`:                       "list: an object where a list is required",
		`{"at": [1]}`:                        "at: a list where an object is required",
		`{"i": 1.5}`:                         "i: 1.5 where an integer is required",
		`{"i": 5e-1}`:                        "i: 5e-1 where an integer is required",
		`{"i": 1e-99999999999999999999}`:     "i: 1e-99999999999999999999 where an integer is required",
		`{"i": 1e400}`:                       "i: 1e400 is out of range: use an integer in [-9223372036854775808, 9223372036854775807]",
		`{"i": 9223372036854775808}`:         "i: 9223372036854775808 is out of range",
		`{"i": 1e99999999999999999999}`:      "is out of range",
		`{"short": 128}`:                     "short: 128 is out of range: use an integer in [-128, 127]",
		`{"u": -1}`:                          "u: -1 is out of range: use an integer in [0, 18446744073709551615]",
		`{"f": 1e39}`:                        "f: 1e39 is out of range: use at most 3.4e+38 in magnitude",
		`{"list": [{"a": 1e309}]}`:           "list[0].a: 1e309 is out of range: use at most 1.8e+308",
		`{"list": [{"a": -1e-400}]}`:         "list[0].a: -1e-400 is too small",
		`{"any": 1e999}`:                     "any: 1e999 is out of range",
		`{"pair": [1]}`:                      "pair: 1 entries in a list: give 2",
		`{"pair": [1, 2, 3]}`:                "pair: 3 entries in a list: give 2",
		`{"map": {"x": "y"}}`:                `map.x: "y" where an integer is required`,
		`{"i": 1} {}`:                        "text after the JSON value, at line 1",
		"{\"i\": 1}\n\n}":                    "text after the JSON value, at line 3",
		"{\n\"i\": 1,\n}":                    "line 3: not JSON",
		`{"i": 01}`:                          "line 1: not JSON",
		`{"i": NaN}`:                         "line 1: not JSON",
		`{"i": 1`:                            "ends too early",
		``:                                   "ends too early",
		"\ufeff{}":                           "byte-order mark",
		"{\"deep\": \"\xff\"}":               "not UTF-8",
		"\xff\xfe{\x00}\x00":                 "not UTF-8",
		`null`:                               "null where an object is required",
		`"x"`:                                `"x" where an object is required`,
		`{"` + strings.Repeat("x", 99) + "\\n\": 1}": "unknown key",
	} {
		var v outer
		err := strictjson.Decode([]byte(text), &v)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", text, err, want)
		}
	}
}

// Keys can be read alone, and left out.
func TestLookup(t *testing.T) {
	const text = `{"kind": "k", "a": 2}`
	var kind string
	if found, err := strictjson.Lookup([]byte(text), "kind", &kind); err != nil || !found || kind != "k" {
		t.Errorf("found %t, %q, error %v", found, kind, err)
	}
	if found, err := strictjson.Lookup([]byte(text), "none", &kind); err != nil || found {
		t.Errorf("found %t a key that does not exist, error %v", found, err)
	}
	var v inner
	if err := strictjson.Decode([]byte(text), &v, "kind"); err != nil || v.A != 2 {
		t.Errorf("read %+v, error %v", v, err)
	}
	for text, want := range map[string]string{
		`{"Kind": "k"}`: `Kind: did you mean "kind"?`, `{"kind": 1}`: "kind: 1 where a string is required", `[]`: "a list where an object",
		`{"kind": "a", "kind": "b"}`: "kind: the key is repeated", `{"x": {"y": 1, "y": 2}}`: "x.y: the key is repeated",
	} {
		if _, err := strictjson.Lookup([]byte(text), "kind", &kind); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// For any text the result is that of encoding/json, where that can read the text, or an error of
// one line.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"deep": "d", "i": 5e1, "u": 7, "f": 1.5, "truth": false, "list": [{"a": 1}], "pair": [1, 2], "at": null, "named": "n"}`,
		`{"map": {"x": 1}, "raw": [{}, [], "\""], "any": {"y": [null]}, "Plain": "\u00e9\\"}`,
		`{"i": 1, "i": 2}`, `{"I": 1}`, `{"i": null}`, `[`, `{"a`, "\ufeff{}", `{"list": [ ], "map": { } }`, `1e400`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want outer
		err := strictjson.Decode(text, &got)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error has more than one line: %q", err)
			}
			return
		}
		if json.Unmarshal(text, &want) == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as %+v, want %+v", text, got, want)
		}
		if !json.Valid(text) {
			t.Fatalf("%q is not JSON, but is read as %+v", text, got)
		}
	})
}
