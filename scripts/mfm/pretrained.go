package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// maxParityError is the largest relative error with which an output counts as equal.
const maxParityError = 1e-4

func weightsCommand() *cobra.Command {
	return group("weights", "download, inspect or convert weights of other projects",
		leaf("get NAME", "download released weights: "+strings.Join(releaseNames(), ", "), weightsGet),
		leaf("inspect FILE", "list the names, types and shapes of a file's tensors", weightsInspect),
		leaf("convert FILE", "convert weights to a file or folder of this project", weightsConvert),
	)
}

func releaseNames() []string {
	var names []string
	for _, r := range pretrained.Releases() {
		names = append(names, r.Name)
	}
	return names
}

// weightsGet downloads a file of weights, or checks one that is there.
func weightsGet(c *command) prepare {
	c.withJSON()
	out := c.Flags().String("out", "", "`folder` to download to (default: weights/NAME in the user's cache folder)")
	have := c.Flags().String("file", "", "`file` that you have, which is checked instead of a download")
	offline := c.Flags().Bool("offline", false, "use what is in the folder, without a request (also: HF_HUB_OFFLINE=1)")
	mirrors := c.withMirrors("those in HF_ENDPOINT for a file of the Hub, separated by commas, or else its server")
	return func() (work, error) {
		r, err := pretrained.FindRelease(c.Flags().Arg(0))
		if err != nil {
			return nil, err
		}
		bases := *mirrors
		if len(bases) == 0 && r.Folder == "" {
			bases = strings.FieldsFunc(os.Getenv("HF_ENDPOINT"), func(r rune) bool { return r == ',' || r == ' ' })
		}
		for _, base := range bases {
			if err := checkMirror(base); err != nil {
				return nil, fmt.Errorf("HF_ENDPOINT: %q: %w", base, err)
			}
		}
		dir := *out
		if dir == "" && *have == "" {
			path, err := r.DefaultPath()
			if err != nil {
				return nil, err
			}
			dir = filepath.Dir(path)
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s: %s\nlicense: %s\n", r.Name, r.About, license(r))
		if *have != "" {
			o, err := r.Check(*have)
			return func(context.Context, compute.Backend) error { return c.writeObtained(r, o) }, err
		}
		return func(ctx context.Context, _ compute.Backend) error {
			fetcher := data.Fetcher{Report: newDownloads(c.ErrOrStderr()).report}
			o, err := r.Get(ctx, fetcher, dir, *offline || os.Getenv("HF_HUB_OFFLINE") == "1", bases...)
			if err != nil {
				return err
			}
			return c.writeObtained(r, o)
		}, nil
	}
}

func license(r pretrained.Release) string {
	if r.License == "" {
		return "none is known here: read " + r.Page + " before you use the weights"
	}
	return r.License + ", see " + r.Page
}

// writeObtained writes what a file is, and how to convert it.
func (c *command) writeObtained(r pretrained.Release, o pretrained.Obtained) error {
	compared := map[pretrained.Checksum]string{
		pretrained.Published: "the published one",
		pretrained.Recorded:  "not published, the same as that of an earlier download",
		pretrained.Declared:  "not published, the one that the server declares; recorded for later downloads",
		pretrained.Unknown:   "not published, compared with nothing; recorded for later downloads",
	}[o.Compared]
	next := ""
	if r.Kind != "" {
		next = "next: mfm weights convert " + quote(o.Path) + " --kind " + r.Kind
		for _, s := range r.Settings {
			next += " --set " + quote(s)
		}
		next += " --to FILE.safetensors\n"
	}
	return c.write(o, fmt.Sprintf("%s: %d bytes\nSHA-256 %s: %s\n%s", o.Path, o.Size, o.SHA256, compared, next))
}

// weightsConvert converts a file of weights to one of this project, or to the folder of a run.
func weightsConvert(c *command) prepare {
	c.withJSON()
	to := c.Flags().String("to", "", "`FILE`.safetensors, or the folder of a run, to write (required)")
	kind := c.Flags().String("kind", pretrained.DiTKind, "`kind` of the network: "+strings.Join(pretrained.Kinds(), ", "))
	c.complete("kind", false, pretrained.Kinds()...)
	prefix := c.Flags().String("prefix", "", "`part` of the names' prefix that chooses one of several copies, such as ema")
	decoder := c.Flags().String("decoder", "", "`file` of the decoder of a tiny autoencoder whose encoder is FILE")
	settings := c.withSettings()
	settings.withSet(c, "heads=16")
	return func() (work, error) {
		path := c.Flags().Arg(0)
		if err := c.require("name the file or folder to write", "to"); err != nil {
			return nil, err
		}
		if _, err := os.Lstat(*to); err == nil && isWeights(*to) {
			return nil, fmt.Errorf("--to %s exists: remove it, or choose another name", quote(*to))
		}
		tensors, _, err := pretrained.Open(path)
		if err != nil {
			return nil, err
		}
		if *decoder != "" {
			other, _, err := pretrained.Open(*decoder)
			if err != nil {
				return nil, err
			}
			tensors = pretrained.TinyParts(tensors, other)
		}
		converted, err := pretrained.Convert(tensors, *kind, *prefix, settings.apply)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line := "go run ./scripts/mfm weights convert " + quote(path) + " --kind " + *kind
		for _, name := range []string{"prefix", "decoder"} {
			if value := c.Flags().Lookup(name).Value.String(); value != "" {
				line += " --" + name + " " + quote(value)
			}
		}
		for _, s := range *settings {
			line += " " + s.String()
		}
		write := func() error { return converted.Write(*to, map[string]string{"command": line}) }
		if !isWeights(*to) {
			o := run.Options{Dir: *to, Command: line}
			runKind, config := runOf(converted)
			if err := checkAdoption(o, runKind, config); err != nil {
				return nil, err
			}
			write = func() error { return o.Adopt(runKind, config, converted.Weights) }
		}
		return func(context.Context, compute.Backend) error {
			if err := write(); err != nil {
				return err
			}
			elements := 0
			for _, t := range converted.Weights {
				elements += t.Size()
			}
			text := fmt.Sprintf("%s: %s of %d tensors, %d elements", *to, *kind, len(converted.Weights), elements)
			if converted.Prefix != "" {
				text += fmt.Sprintf(", from %q", converted.Prefix)
			}
			return c.write(map[string]any{"to": *to, "kind": *kind, "prefix": converted.Prefix, "config": converted.Config,
				"tensors": len(converted.Weights), "elements": elements}, text+"\n")
		}, nil
	}
}

// checkAdoption returns an error unless o.Dir can become a run with weights from elsewhere.
func checkAdoption(o run.Options, kind string, config any) error {
	if err := checkFolder(o.Dir); err != nil {
		return err
	}
	if ended, err := run.Exported(o.Dir); err != nil || ended {
		return cmp.Or(err, fmt.Errorf("run %s has weights already: choose another folder", o.Dir))
	}
	return o.Claim(kind, config)
}

func isWeights(path string) bool { return strings.HasSuffix(path, ".safetensors") }

// runOf returns the kind and the configuration of a run with a converted network: for a transformer
// that of a map of images without a prior.
func runOf(c pretrained.Converted) (kind string, configuration any) {
	network, ok := c.Config.(nn.DiTConfig)
	if !ok {
		return c.Kind, c.Config
	}
	i := image.DefaultConfig()
	i.Parametrization, i.Prior, i.Network = mfm.PlainName, nil, nn.NewNetwork(network)
	i.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Self, i.Train.Steps)
	i.Train.Loss.Guidance.Classes = network.Classes
	return image.Kind, i
}

// parity compares a network with the outputs of its original in a file of reference values.
func parity(c *command) prepare {
	c.withOutput()
	return func() (work, error) {
		r, err := pretrained.ReadReference(c.Flags().Arg(0))
		if err != nil {
			return nil, err
		}
		kind, err := r.Kind()
		return func(_ context.Context, b compute.Backend) error {
			fmt.Fprintf(c.ErrOrStderr(), "network: %s\n", kind)
			errs, err := pretrained.Parity(b, r)
			if err != nil {
				return invalid{err}
			}
			outputs := make(map[string]float64, len(errs))
			text, worst := "", []error(nil)
			for _, name := range slices.Sorted(maps.Keys(errs)) {
				key := "out." + name
				outputs[key] = errs[name]
				text += fmt.Sprintf("%-20s %.2g\n", key, errs[name])
				if !(errs[name] <= maxParityError) {
					worst = append(worst, fmt.Errorf("%s: relative error %.3g, more than %g", key, errs[name], maxParityError))
				}
			}
			if err := c.write(outputs, text); err != nil {
				return err
			}
			return errors.Join(worst...)
		}, err
	}
}

// tensorSummary describes a tensor of a file.
type tensorSummary struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

func weightsInspect(c *command) prepare {
	c.withJSON()
	return func() (work, error) {
		tensors, _, err := pretrained.Open(c.Flags().Arg(0))
		return func(context.Context, compute.Backend) error {
			var all []tensorSummary
			elements := 0
			for _, name := range slices.Sorted(maps.Keys(tensors)) {
				shape := tensors[name].Shape()
				all = append(all, tensorSummary{name, shape.DType.String(), shape.Dimensions})
				elements += shape.Size()
			}
			text := table[tensorSummary]{columns: columns(func(s tensorSummary) []any {
				return []any{s.Name, s.Type, s.Shape}
			}, "name %s", "type %s", "shape %v")}.text(all)
			return c.write(all, text+fmt.Sprintf("%d tensors, %d elements\n", len(all), elements))
		}, err
	}
}
