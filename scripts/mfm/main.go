// Command mfm trains, samples, steers, tunes and judges meta flow maps from a shell. It only calls the packages of this module: what it does, a program or a notebook
// does with the same calls. `mfm help` lists its commands, `mfm train gmm -h` the flags of one, `mfm info` every default.
//
// Results go to standard output, as JSON with --json; the backend in use, progress and warnings to standard error. It exits with 0, with 1 where work failed or was
// stopped, and with 2 where it was not begun, because of what it was given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gomfm/gomfm/mfm/experiment"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is one of mfm's commands.
type command struct {
	name  string // as it is typed after mfm
	about string
	run   func(ctx context.Context, s *shell, args []string) error
}

func commands() []command {
	return []command{
		{"train gmm", "train a map of a Gaussian mixture", trainGMM},
		{"train digits", "train a map of images", trainDigits},
		{"train classifier", "train a classifier of images, by which maps of them are judged", trainClassifier},
		{"sample gmm", "draw posterior samples from a map of a mixture", sampleGMM},
		{"sample digits", "draw posterior samples from a map of images", sampleDigits},
		{"eval gmm", "judge a map of a mixture against the exact posteriors", evalGMM},
		{"eval digits", "judge a map of images by two classifiers", evalDigits},
		{"steer gmm", "draw from a mixture tilted by a reward, a grid of settings", steerGMM},
		{"steer digits", "draw images tilted by a reward, a grid of settings", steerDigits},
		{"steer merge", "put the results of shards, of steer, tune or stress, together", steerMerge},
		{"tune gmm", "tune the drift of a mixture's map to a reward, a grid of settings", tuneGMM},
		{"tune digits", "tune the drift of a map of images to a reward, a grid of settings", tuneDigits},
		{"stress diversity", "stress test: posteriors of random mixtures, by modes, dimension and shape", stress("diversity", experiment.DiversityGrid)},
		{"stress base", "stress test: what an error of the base drift does to all that is made of it", stress("base", experiment.BaseGrid)},
		{"stress manifold", "stress test: maps of laws that are thin about a curve, by parametrization", stress("manifold", experiment.ManifoldGrid)},
		{"stress precision", "stress test: closed forms of such laws in float32, toward t = 1", stress("precision", experiment.PrecisionGrid)},
		{"stress times", "stress test: samples of such laws by their exact drift, by grid of times", stress("times", experiment.TimesGrid)},
		{"stress losses", "stress test: every loss for the same time, on mixtures and on digits", stressLosses},
		{"tune distill", "distill a tuned drift of a mixture into a map of one step", tuneDistill},
		{"diagnose gmm", "look at a map of a mixture and say what is wrong with it", diagnoseGMM},
		{"diagnose digits", "look at a map of images and say what is wrong with it", diagnoseDigits},
		{"bench", "measure the speed of a training step or of a steered run", bench},
		{"data inspect", "check a pair of IDX files and say what is in them", dataInspect},
		{"data mnist", "download MNIST, 60,000 + 10,000 digits", dataMNIST},
		{"info", "versions, backend and every default", info},
		{"info gmm", "the configuration that train gmm takes with the same flags", infoGMM},
		{"info digits", "the configuration that train digits takes with the same flags", infoDigits},
		{"info classifier", "the configuration that train classifier takes with the same flags", infoClassifier},
	}
}

// shell is where a command writes.
type shell struct{ stdout, stderr io.Writer }

func (s *shell) warn(err error) { fmt.Fprintf(s.stderr, "mfm: warning: %s\n", oneLine(err)) }

// invalid is an error in what a command was given, because of which it was not begun.
type invalid struct{ error }

func (e invalid) Unwrap() error { return e.error }

func invalidf(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }

// run carries out a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := &shell{stdout, stderr}
	c, rest, err := find(args)
	name := "mfm"
	if c != nil {
		name += " " + c.name
		err = c.run(ctx, s, rest)
	}
	if errors.Is(err, flag.ErrHelp) {
		if c == nil {
			usage(stdout)
		}
		return 0
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "%s: %s\n", name, oneLine(err))
	if _, ok := errors.AsType[invalid](err); ok {
		return 2
	}
	return 1
}

// find returns the command that args begin with, the longest name first, and the rest of them.
func find(args []string) (*command, []string, error) {
	if len(args) == 0 {
		return nil, nil, invalidf("no command: mfm help lists them")
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		return nil, nil, flag.ErrHelp
	}
	var found *command
	var words int
	var siblings []string
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if name[0] == args[0] && len(name) > 1 {
			siblings = append(siblings, name[1])
		}
		if len(args) >= len(name) && strings.Join(args[:len(name)], " ") == c.name && len(name) > words {
			found, words = &c, len(name)
		}
	}
	switch {
	case found != nil:
		return found, args[words:], nil
	case siblings == nil:
		return nil, nil, invalidf("unknown command %q: mfm help lists them", args[0])
	case len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		return nil, nil, invalidf("unknown command \"%s %s\": %[1]s takes %[3]s", args[0], args[1], strings.Join(siblings, ", "))
	case len(args) > 1 && isHelp(args[1]):
		return nil, nil, flag.ErrHelp
	}
	return nil, nil, invalidf("%s what? It takes %s", args[0], strings.Join(siblings, ", "))
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "mfm trains, samples, steers, tunes and judges meta flow maps.")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  mfm %-16s  %s\n", c.name, c.about)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "Each lists its flags with -h.")
}

// oneLine puts an error that has several, as a joined one does, into one line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
