package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// open returns a decoder at the beginning of a text that is a single, well-formed JSON value.
func open(text []byte) (*decoder, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, errors.New("the text begins with a byte-order mark: save it as UTF-8 without one")
	case !utf8.Valid(text):
		return nil, errors.New("the text is not UTF-8: save it as UTF-8")
	}
	stream := json.NewDecoder(bytes.NewReader(text))
	var first json.RawMessage
	err := stream.Decode(&first)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("line %d: not JSON: %w", line(text, int(syntax.Offset)), err)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("not JSON: it ends too early")
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	d := &decoder{text: text, at: int(stream.InputOffset())}
	if d.space(); d.at < len(text) {
		return nil, fmt.Errorf("text after the JSON value, at line %d: remove it", line(text, d.at))
	}
	d.at = 0
	d.space()
	return d, nil
}

// line returns the line of an offset, from 1.
func line(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))
}

// decoder reads text, which is well-formed, from the offset at, where a value begins.
type decoder struct {
	text   []byte
	at     int
	stored bool // null is any nil pointer, list or map
}

func (d *decoder) peek() byte { return d.text[d.at] }

func (d *decoder) space() {
	for d.at < len(d.text) && strings.IndexByte(" \t\r\n", d.text[d.at]) >= 0 {
		d.at++
	}
}

// members calls each with the keys of an object, with d at their values, which each reads.
func (d *decoder) members(each func(key string) error) error {
	seen := make(map[string]bool)
	return d.entries('}', func(int) error {
		key := d.string()
		d.space()
		d.at++ // the colon
		d.space()
		name := key
		if quoted := strconv.Quote(key); quoted != `"`+key+`"` {
			name = short(quoted)
		}
		if seen[key] {
			return within(name, errors.New("the key is repeated: give it once"))
		}
		seen[key] = true
		if err := each(key); err != nil {
			return within(name, err)
		}
		return nil
	})
}

// entries calls each with the number of every entry of a list or an object, with d at the entry.
func (d *decoder) entries(end byte, each func(i int) error) error {
	for i := 0; ; i++ {
		d.at++ // the bracket, or a comma
		d.space()
		if d.peek() == end { // there is no comma before the end
			break
		}
		if err := each(i); err != nil {
			return err
		}
		if d.space(); d.peek() == end {
			break
		}
	}
	d.at++
	return nil
}

// skip passes a value, which must not repeat a key.
func (d *decoder) skip() error {
	switch d.peek() {
	case '{':
		return d.members(func(string) error { return d.skip() })
	case '[':
		return d.entries(']', func(i int) error {
			if err := d.skip(); err != nil {
				return within(fmt.Sprintf("[%d]", i), err)
			}
			return nil
		})
	case '"':
		d.string()
	default:
		d.token()
	}
	return nil
}

// token passes a number, true, false or null and returns it.
func (d *decoder) token() string {
	from := d.at
	for d.at < len(d.text) && strings.IndexByte(" \t\r\n,]}", d.text[d.at]) < 0 {
		d.at++
	}
	return string(d.text[from:d.at])
}

// string passes a string and returns its value.
func (d *decoder) string() (value string) {
	from := d.at
	for d.at++; d.peek() != '"'; d.at++ {
		if d.peek() == '\\' {
			d.at++
		}
	}
	d.at++
	_ = json.Unmarshal(d.text[from:d.at], &value) // it is well-formed
	return value
}

// mismatch returns the error of a value that should be another kind of value.
func (d *decoder) mismatch(want string) error {
	var got string
	switch from := d.at; d.peek() {
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	case '"':
		got = strconv.Quote(short(d.string()))
	default:
		got, d.at = short(d.token()), from
	}
	return &Error{Err: fmt.Errorf("%s where %s is required", got, want)}
}

// short returns the beginning of a long text.
func short(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "..."
	}
	return text
}

// without returns a decoder of an object without some of its keys.
func (d *decoder) without(skip []string) (*decoder, error) {
	rest := []byte{'{'}
	err := d.members(func(key string) error {
		from := d.at
		if err := d.skip(); err != nil || slices.Contains(skip, key) {
			return err
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		name, _ := json.Marshal(key) // a string always encodes
		rest = append(append(append(rest, name...), ':'), d.text[from:d.at]...)
		return nil
	})
	return &decoder{text: append(rest, '}')}, err
}
