package pickle

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// instructions are those of the protocols 0 to 5 that plain values need, by their byte.
var instructions = [256]func(*machine) error{
	0x80: skip(1), // protocol
	0x95: skip(8), // frame
	'(':  func(m *machine) error { m.marks = append(m.marks, len(m.stack)); return nil },
	'0':  func(m *machine) error { _, err := m.pop(); return err },
	'1':  func(m *machine) error { _, err := m.popMark(); return err },
	'2':  func(m *machine) error { return m.pushed(m.top()) },

	'N':  constant(nil),
	0x88: constant(true),
	0x89: constant(false),
	'K':  func(m *machine) error { return m.fixed(1, func(v uint64) any { return int64(v) }) },
	'M':  func(m *machine) error { return m.fixed(2, func(v uint64) any { return int64(v) }) },
	'J':  func(m *machine) error { return m.fixed(4, func(v uint64) any { return int64(int32(v)) }) },
	0x8a: func(m *machine) error { return m.sized(1, func(raw []byte) (any, error) { return long(raw) }) },
	0x8b: func(m *machine) error { return m.sized(4, func(raw []byte) (any, error) { return long(raw) }) },
	'I':  func(m *machine) error { return m.text(decimal) },
	'L':  func(m *machine) error { return m.text(decimal) },
	'F': func(m *machine) error {
		return m.text(func(s string) (any, error) { return strconv.ParseFloat(s, 64) })
	},
	'G': bigEndianFloat,

	'S':  func(m *machine) error { return m.text(quoted) },
	'V':  func(m *machine) error { return m.text(func(s string) (any, error) { return s, nil }) },
	'T':  func(m *machine) error { return m.sized(4, asString) },
	'U':  func(m *machine) error { return m.sized(1, asString) },
	'X':  func(m *machine) error { return m.sized(4, asString) },
	0x8c: func(m *machine) error { return m.sized(1, asString) },
	0x8d: func(m *machine) error { return m.sized(8, asString) },
	'B':  func(m *machine) error { return m.sized(4, asBytes) },
	'C':  func(m *machine) error { return m.sized(1, asBytes) },
	0x8e: func(m *machine) error { return m.sized(8, asBytes) },

	']':  func(m *machine) error { m.push(&List{}); return nil },
	0x8f: func(m *machine) error { m.push(&List{}); return nil }, // set
	'l':  fromMark(func(items []any) (any, error) { return &List{items}, nil }),
	0x91: fromMark(func(items []any) (any, error) { return &List{items}, nil }), // frozen set
	'a': func(m *machine) error {
		items, err := m.popN(1)
		if err != nil {
			return err
		}
		return m.add(items)
	},
	'e':  markThen((*machine).add),
	0x90: markThen((*machine).add), // to a set

	')':  func(m *machine) error { m.push(Tuple{}); return nil },
	0x85: tuple(1),
	0x86: tuple(2),
	0x87: tuple(3),
	't':  fromMark(func(items []any) (any, error) { return Tuple(items), nil }),

	'}': func(m *machine) error { m.push(&Dict{}); return nil },
	'd': fromMark(dict),
	's': func(m *machine) error {
		items, err := m.popN(2)
		if err != nil {
			return err
		}
		return m.set(items)
	},
	'u': markThen((*machine).set),

	'c':  global,
	0x93: stackGlobal,
	'R':  (*machine).call,
	0x81: (*machine).call, // new object
	0x92: newObject,
	'b':  build,
	'Q':  persistent,

	'p':  func(m *machine) error { return m.put(m.lineNumber()) },
	'q':  func(m *machine) error { return m.put(m.index(1)) },
	'r':  func(m *machine) error { return m.put(m.index(4)) },
	0x94: func(m *machine) error { return m.put(int64(len(m.memo)), nil) },
	'g':  func(m *machine) error { return m.get(m.lineNumber()) },
	'h':  func(m *machine) error { return m.get(m.index(1)) },
	'j':  func(m *machine) error { return m.get(m.index(4)) },
}

func (m *machine) pushed(v any, err error) error {
	if err == nil {
		m.push(v)
	}
	return err
}

func constant(v any) func(*machine) error {
	return func(m *machine) error { m.push(v); return nil }
}

func skip(n uint64) func(*machine) error {
	return func(m *machine) error { _, err := m.take(n); return err }
}

// fixed pushes a function of a number of n bytes.
func (m *machine) fixed(n int, f func(uint64) any) error {
	v, err := m.number(n)
	if err != nil {
		return err
	}
	m.push(f(v))
	return nil
}

// sized pushes a function of bytes whose number comes first, as n bytes.
func (m *machine) sized(n int, f func([]byte) (any, error)) error {
	length, err := m.number(n)
	if err != nil {
		return err
	}
	raw, err := m.take(length)
	if err != nil {
		return err
	}
	return m.pushed(f(raw))
}

// text pushes a function of a line.
func (m *machine) text(f func(string) (any, error)) error {
	line, err := m.line()
	if err != nil {
		return err
	}
	return m.pushed(f(line))
}

// longestInteger is the limit for integers in bytes: conversions take time quadratic in it.
const longestInteger = 1 << 10

func long(raw []byte) (any, error) {
	if len(raw) > longestInteger {
		return nil, fmt.Errorf("an integer of %d bytes", len(raw))
	}
	return integer(raw), nil
}

func decimal(s string) (any, error) {
	switch s {
	case "00":
		return false, nil
	case "01":
		return true, nil
	}
	v, ok := new(big.Int), len(s) <= 2*longestInteger
	if ok {
		v, ok = v.SetString(strings.TrimSuffix(s, "L"), 10)
	}
	if !ok {
		return nil, fmt.Errorf("%.20q is not an integer", s)
	}
	if v.IsInt64() {
		return v.Int64(), nil
	}
	return v, nil
}

func quoted(s string) (any, error) {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '\'' && s[0] != '"' {
		return nil, fmt.Errorf("%.20q is not a quoted string", s)
	}
	return s[1 : len(s)-1], nil
}

func asString(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("a string that is not valid UTF-8")
	}
	return string(raw), nil
}

func asBytes(raw []byte) (any, error) { return append([]byte(nil), raw...), nil }

func bigEndianFloat(m *machine) error {
	raw, err := m.take(8)
	if err != nil {
		return err
	}
	var bits uint64
	for _, b := range raw {
		bits = bits<<8 | uint64(b)
	}
	m.push(math.Float64frombits(bits))
	return nil
}

func fromMark(f func([]any) (any, error)) func(*machine) error {
	return func(m *machine) error {
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.pushed(f(items))
	}
}

func markThen(f func(*machine, []any) error) func(*machine) error {
	return func(m *machine) error {
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return f(m, items)
	}
}

func tuple(n int) func(*machine) error {
	return func(m *machine) error {
		items, err := m.popN(n)
		if err == nil {
			m.push(Tuple(items))
		}
		return err
	}
}

func dict(items []any) (any, error) {
	if len(items)%2 != 0 {
		return nil, errors.New("a dictionary with a key without a value")
	}
	d := &Dict{}
	for i := 0; i < len(items); i += 2 {
		d.Set(items[i], items[i+1])
	}
	return d, nil
}

func global(m *machine) error {
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	return m.class(module, name)
}

func stackGlobal(m *machine) error {
	names, err := m.popN(2)
	if err != nil {
		return err
	}
	module, ok := names[0].(string)
	name, isString := names[1].(string)
	if !ok || !isString {
		return errors.New("the name of a class is not a string")
	}
	return m.class(module, name)
}

// newObject is a call with arguments by name, which are dropped.
func newObject(m *machine) error {
	if _, err := m.pop(); err != nil {
		return err
	}
	return m.call()
}

// build sets the attributes of the value below the state on the stack. Those of dictionaries, such
// as the versions that PyTorch adds to a dictionary of weights, are dropped.
func build(m *machine) error {
	if _, err := m.pop(); err != nil {
		return err
	}
	top, err := m.top()
	if err != nil {
		return err
	}
	switch top.(type) {
	case *Dict, *Inert:
		return nil
	}
	return fmt.Errorf("the pickle sets attributes of a %T", top)
}

func persistent(m *machine) error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	if m.env.Persistent == nil {
		return errors.New("the pickle refers to an object outside of it")
	}
	return m.pushed(m.env.Persistent(id))
}

func (m *machine) lineNumber() (int64, error) {
	line, err := m.line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(line, 10, 64)
}

func (m *machine) index(n int) (int64, error) {
	v, err := m.number(n)
	return int64(v), err
}

func (m *machine) put(index int64, err error) error {
	if err != nil {
		return err
	}
	v, err := m.top()
	if err == nil {
		m.memo[index] = v
	}
	return err
}

func (m *machine) get(index int64, err error) error {
	if err != nil {
		return err
	}
	v, ok := m.memo[index]
	if !ok {
		return fmt.Errorf("the pickle takes value %d before it puts it", index)
	}
	m.push(v)
	return nil
}
