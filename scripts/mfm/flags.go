package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/backend"
)

// flags are the flags of one command.
type flags struct {
	*flag.FlagSet
	operands []string // names of the arguments that are not flags
	backend  *string
	json     *bool
}

func newFlags(name string, operands ...string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("mfm "+name, flag.ContinueOnError), operands: operands}
	f.SetOutput(io.Discard) // errors are ours to report
	f.Usage = func() {}
	return f
}

// withBackend adds the flag that chooses the backend.
func (f *flags) withBackend() *flags {
	f.backend = f.String("backend", "", "`name` of the backend: xla:cpu, xla:cuda or go (default: $GOMLX_BACKEND, else XLA where there is a plugin)")
	return f
}

// withJSON adds the flag for output that programs read.
func (f *flags) withJSON() *flags {
	f.json = f.Bool("json", false, "write the result as JSON")
	return f
}

// parse reads args, flags before, between or after the operands, which it returns: as many as the command has.
func (f *flags) parse(s *shell, args []string) ([]string, error) {
	var operands []string
	for {
		if err := f.Parse(args); err == flag.ErrHelp {
			f.help(s.stdout)
			return nil, err
		} else if err != nil {
			return nil, invalidf("%w: -h lists the flags", err)
		}
		if f.NArg() == 0 {
			break
		}
		operands, args = append(operands, f.Arg(0)), f.Args()[1:]
	}
	if len(operands) > len(f.operands) {
		return nil, invalidf("unexpected argument %q: -h lists what it takes", operands[len(f.operands)])
	}
	if len(operands) < len(f.operands) {
		return nil, invalidf("%s is missing: -h lists what it takes", strings.Join(f.operands[len(operands):], " and "))
	}
	return operands, nil
}

func (f *flags) help(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n", strings.Join(append([]string{f.Name(), "[flags]"}, f.operands...), " "))
	f.SetOutput(w)
	f.PrintDefaults()
}

// open opens the backend and says on standard error which it is.
func (f *flags) open(s *shell) (compute.Backend, error) {
	b, err := backend.New(*f.backend)
	if err != nil {
		return nil, invalid{err}
	}
	fmt.Fprintf(s.stderr, "backend: %s\n", backend.Describe(b))
	return b, nil
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// writeJSON writes v on one line, for programs.
func writeJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
