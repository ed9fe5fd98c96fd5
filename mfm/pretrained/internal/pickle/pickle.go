// Package pickle decodes Python's pickles of plain values without running anything.
//
// A pickle is a program for a stack machine, whose instructions can import and call any function.
// This decoder knows the instructions, but imports nothing: each class or function that a pickle
// names must be one that the caller's [Environment] maps to a Go function. Memory is at most a
// small multiple of the pickle's length, and of the limit for instructions.
package pickle

import (
	"errors"
	"fmt"
	"math/big"
)

// Class is what a pickle calls with arguments: a class or a function.
type Class func(args []any) (any, error)

// Environment is what a pickle may refer to.
type Environment struct {
	// Class returns what a global name stands for. An error refuses the pickle.
	Class func(module, name string) (Class, error)
	// Persistent returns the object outside of the pickle that an identifier stands for. If it is nil
	// such objects are errors.
	Persistent func(id any) (any, error)
}

// Tuple is a Python tuple. Other values are nil, bool, int64, *big.Int for longer integers,
// float64, string, []byte, *List, *Dict, *Inert, [Class], and results of the environment.
type Tuple []any

// Inert is a value of a class that the caller does not know. What a pickle does to it has no
// effect.
type Inert struct{ Name string }

// maxInstructions is the limit for the instructions of a pickle. A tensor takes about 30.
const maxInstructions = 1 << 20

// List is a Python list or set.
type List struct{ Items []any }

// Dict is a Python dictionary in the order of its keys, which may repeat.
type Dict struct{ Keys, Values []any }

// Set appends a key and its value.
func (d *Dict) Set(key, value any) { d.Keys, d.Values = append(d.Keys, key), append(d.Values, value) }

// Decode decodes the pickle at the beginning of data and returns its value and the bytes after it.
func Decode(data []byte, env Environment) (value any, rest []byte, err error) {
	m := &machine{data: data, env: env, memo: make(map[int64]any)}
	for range maxInstructions {
		op, err := m.next()
		if err != nil {
			return nil, nil, err
		}
		if op == '.' {
			value, err := m.pop()
			return value, m.data[m.at:], err
		}
		at := m.at - 1
		execute := instructions[op]
		if execute == nil {
			return nil, nil, fmt.Errorf("byte %d: instruction 0x%02x is not one of a pickle of plain values", at, op)
		}
		if err := execute(m); err != nil {
			return nil, nil, fmt.Errorf("byte %d: %w", at, err)
		}
	}
	return nil, nil, fmt.Errorf("the pickle has more than %d instructions", maxInstructions)
}

// machine is the stack machine.
type machine struct {
	data  []byte
	at    int
	env   Environment
	stack []any
	marks []int // lengths of the stack at the marks
	memo  map[int64]any
}

var (
	errTruncated = errors.New("the pickle is truncated")
	errStack     = errors.New("the pickle takes more from its stack than there is")
)

func (m *machine) next() (byte, error) {
	if m.at >= len(m.data) {
		return 0, errTruncated
	}
	m.at++
	return m.data[m.at-1], nil
}

// take returns the next n bytes, which stay in data.
func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.data)-m.at) {
		return nil, errTruncated
	}
	m.at += int(n)
	return m.data[m.at-int(n) : m.at], nil
}

// number returns the next n bytes as an unsigned little-endian number.
func (m *machine) number(n int) (uint64, error) {
	raw, err := m.take(uint64(n))
	var v uint64
	for i := len(raw) - 1; i >= 0; i-- {
		v = v<<8 | uint64(raw[i])
	}
	return v, err
}

// line returns the bytes up to the next newline, without it.
func (m *machine) line() (string, error) {
	for i := m.at; i < len(m.data); i++ {
		if m.data[i] == '\n' {
			text := string(m.data[m.at:i])
			m.at = i + 1
			return text, nil
		}
	}
	return "", errTruncated
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor is the length of the stack below which an instruction may not take.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errStack
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errStack
	}
	return m.stack[len(m.stack)-1], nil
}

// popN returns the last n values.
func (m *machine) popN(n int) ([]any, error) {
	if len(m.stack)-n < m.floor() {
		return nil, errStack
	}
	values := append([]any(nil), m.stack[len(m.stack)-n:]...)
	m.stack = m.stack[:len(m.stack)-n]
	return values, nil
}

// popMark returns the values after the last mark, and removes it.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errors.New("the pickle has no mark on its stack")
	}
	values, err := m.popN(len(m.stack) - m.floor())
	m.marks = m.marks[:len(m.marks)-1]
	return values, err
}

// class pushes what a global name stands for.
func (m *machine) class(module, name string) error {
	if m.env.Class == nil {
		return fmt.Errorf("the pickle names %s.%s", module, name)
	}
	c, err := m.env.Class(module, name)
	if err == nil {
		m.push(c)
	}
	return err
}

// call calls the class below the arguments on the stack.
func (m *machine) call() error {
	values, err := m.popN(2)
	if err != nil {
		return err
	}
	if inert, ok := values[0].(*Inert); ok {
		m.push(inert)
		return nil
	}
	class, ok := values[0].(Class)
	args, isTuple := values[1].(Tuple)
	if !ok || !isTuple {
		return errors.New("the pickle calls a value that is not a class")
	}
	result, err := class(args)
	if err == nil {
		m.push(result)
	}
	return err
}

// add adds items to the list on top of the stack.
func (m *machine) add(items []any) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	if _, ok := top.(*Inert); ok {
		return nil
	}
	list, ok := top.(*List)
	if !ok {
		return fmt.Errorf("the pickle appends to a %T", top)
	}
	list.Items = append(list.Items, items...)
	return nil
}

// set adds alternating keys and values to the dictionary on top of the stack.
func (m *machine) set(items []any) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	if _, ok := top.(*Inert); ok {
		return nil
	}
	dict, ok := top.(*Dict)
	if !ok || len(items)%2 != 0 {
		return fmt.Errorf("the pickle sets %d keys and values of a %T", len(items), top)
	}
	for i := 0; i < len(items); i += 2 {
		dict.Set(items[i], items[i+1])
	}
	return nil
}

// integer returns a two's complement little-endian integer.
func integer(raw []byte) any {
	v := new(big.Int)
	reversed := make([]byte, len(raw))
	for i, b := range raw {
		reversed[len(raw)-1-i] = b
	}
	v.SetBytes(reversed)
	if len(raw) > 0 && raw[len(raw)-1]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	if v.IsInt64() {
		return v.Int64()
	}
	return v
}
