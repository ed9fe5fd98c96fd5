package experiment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// Files of a run's folder, beside its checkpoints.
const (
	configFile  = "config.json"
	logFile     = "log.json"
	openLogFile = "log-open.json" // see [runLog]
	weightsFile = "weights.safetensors"
)

// ErrOtherRun is the error, wrapped, of a folder that holds a run with another configuration.
var ErrOtherRun = errors.New("another run")

// Manifest is what a run's folder says about itself.
type Manifest struct {
	Kind    string          `json:"kind"`           // such as [KindGMM]
	Command string          `json:"command"`        // that makes the run again
	Data    string          `json:"data,omitempty"` // folder of the data; empty for what the package has
	Init    string          `json:"init,omitempty"` // folder of the run whose weights this one began with; empty for random ones
	Config  json.RawMessage `json:"config"`
}

// LogEntry is one line of a run's log: means over the steps since the entry before.
type LogEntry struct {
	Step         int64   `json:"step"`
	Loss         float64 `json:"loss"`
	Diagonal     float64 `json:"diagonal"`
	Consistency  float64 `json:"consistency"`
	GradientNorm float64 `json:"gradient_norm"`
	Rate         float64 `json:"rate"`
	Seconds      float64 `json:"seconds"` // of training since its start, interruptions left out
}

// RunOptions say what a training run keeps and shows.
type RunOptions struct {
	Dir     string                    // folder of the run; empty: nothing is kept
	Command string                    // for the manifest
	Data    string                    // for the manifest
	Init    string                    // folder of a finished run with the same network whose weights to begin with; empty: random ones
	Every   int64                     // steps between checkpoints; 0: twenty in the run
	Keep    int                       // newest checkpoints that stay; 0: two
	Sink    progress.Sink             // nil: nothing is shown
	Observe func(train.Metrics) error // of each step, before its checkpoint; nil: nothing
	Problem func(error)               // told of each damaged checkpoint; nil: nobody
	Now     func() time.Time          // nil: time.Now

	claimed func(dir string) error // called once the folder is this run's
	resumed func() error           // called once the newest checkpoint is restored; its error ends the run before its first step
}

// Run trains, with everything in one folder: configuration, log, checkpoints, and at the end the averaged weights. It goes on where an interrupted run
// with the same folder stopped, and ends as if it had never been interrupted; only the log's seconds differ.
func Run(ctx context.Context, t *train.Trainer, kind string, config any, o RunOptions) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	total, keep := t.Config().Steps, cmp.Or(o.Keep, 2)
	if o.Every == 0 {
		o.Every = max(total/20, 1)
	}
	if o.Init != "" && (o.Dir == "" || !begun(o.Dir)) {
		if err := initialize(t, kind, config, o.Init); err != nil {
			return err
		}
	}
	log := newLog(total, o.Now)
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return fmt.Errorf("run: %w", err)
		}
		if err := o.claim(kind, config); err != nil {
			return err
		}
		if err := waitForFolder(ctx, o.Dir); err != nil {
			return err
		}
		if o.claimed != nil {
			if err := o.claimed(o.Dir); err != nil {
				return fmt.Errorf("run: %w", err)
			}
		}
	}
	begin := func() error {
		if o.Dir != "" {
			if err := log.read(o.Dir); err != nil {
				return err
			}
		}
		log.cut(t.Done() + 1)
		if o.Sink != nil && t.Done() < total {
			o.Sink.Update(progress.Report{Step: t.Done(), Total: total})
		}
		if o.resumed != nil {
			return o.resumed()
		}
		return nil
	}
	saving := func() error { return log.write(o.Dir, t.Done(), keep) }
	err := train.Run(ctx, t, train.Options{Dir: o.Dir, Every: o.Every, Keep: keep, Begin: begin, Saving: saving, Problem: o.Problem, Observe: func(m train.Metrics) error {
		log.add(m)
		if o.Sink != nil {
			o.Sink.Update(progress.Report{Step: m.Step, Total: total, Loss: log.recent()})
		}
		if o.Observe != nil {
			return o.Observe(m)
		}
		return nil
	}})
	if o.Sink != nil {
		o.Sink.Done(progress.Report{Step: t.Done(), Total: total, Loss: log.recent(), Elapsed: log.elapsed()}, err)
	}
	if err != nil || o.Dir == "" {
		return err
	}
	return exportWeights(t, o)
}

// claim writes the manifest of a run with a configuration, or compares it with the one that is there.
func (o RunOptions) claim(kind string, config any) error {
	raw, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("run: encoding the configuration: %w", err)
	}
	return claim(o.Dir, Manifest{Kind: kind, Command: o.Command, Data: o.Data, Init: o.Init, Config: raw})
}

// claim writes the manifest of a run into its folder. One that is there must be the same but for the command: [train.Run] compares what training depends on, a run depends on
// the law, the network and the data as well.
func claim(dir string, m Manifest) error {
	path := filepath.Join(dir, configFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return writeJSON(path, m)
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	var old Manifest
	if err := Merge(&old, raw); err != nil {
		return fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	var config bytes.Buffer
	if err := json.Compact(&config, old.Config); err != nil {
		return fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	if old.Kind != m.Kind || old.Data != m.Data || old.Init != m.Init || !bytes.Equal(config.Bytes(), m.Config) {
		return fmt.Errorf("%w: %s holds that of `%s`: use another folder, or that command to go on with it", ErrOtherRun, dir, old.Command)
	}
	return nil
}

// waitForFolder waits a few seconds for whoever has the folder's checkpoints open: a process that was killed just now may still be on its way out.
func waitForFolder(ctx context.Context, dir string) error {
	patience, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		checkpoints, err := checkpoint.Open(dir, 1)
		if err == nil {
			return checkpoints.Close()
		}
		if !errors.Is(err, checkpoint.ErrLocked) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-patience.Done():
			return err
		}
	}
}

// exportWeights writes the weights that a reader of the run wants: the last moving average, or the weights where there is none.
func exportWeights(t *train.Trainer, o RunOptions) error {
	state, err := t.State()
	if err != nil {
		return err
	}
	weights, err := train.FinalWeights(state)
	if err != nil {
		return err
	}
	metadata := map[string]string{"command": o.Command, "seed": strconv.FormatInt(t.Config().Seed, 10), "steps": strconv.FormatInt(t.Done(), 10), "log": logFile}
	return checkpoint.WriteWeights(filepath.Join(o.Dir, weightsFile), weights, metadata)
}

// readManifest returns the manifest of the run in dir, of one of the given kinds.
func readManifest(dir string, kinds ...string) (Manifest, error) {
	var m Manifest
	raw, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return m, fmt.Errorf("run %s: %w", dir, err)
	}
	if err := decodeStrict(raw, &m); err != nil {
		return m, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	if !slices.Contains(kinds, m.Kind) {
		return m, fmt.Errorf("run %s is of kind %q, want \"%s\"", dir, m.Kind, strings.Join(kinds, "\" or \""))
	}
	return m, nil
}

// loadWeights puts the weights of the run in dir into store, in [train.WeightsScope]: those of its end, or of its newest sound checkpoint while it is not at
// its end.
func loadWeights(store *model.Store, dir string) error {
	weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, weightsFile))
	if errors.Is(err, os.ErrNotExist) {
		weights, err = averagedWeights(dir)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", dir, err)
	}
	return train.SetWeights(store, weights)
}

func averagedWeights(dir string) (checkpoint.Tensors, error) {
	c, problems, err := checkpoint.Latest(dir)
	if err != nil {
		return nil, errors.Join(append(problems, err)...)
	}
	return train.FinalWeights(c.Tensors)
}

// CheckpointWeights returns a store with the weights that the run in dir had after a step whose checkpoint it keeps ([RunOptions].Keep), in [train.WeightsScope].
func CheckpointWeights(dir string, step int64) (*model.Store, error) {
	c, err := checkpoint.Load(dir, step)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	weights, err := train.FinalWeights(c.Tensors)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	store := model.NewStore()
	return store, train.SetWeights(store, weights)
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return replaceFile(path, append(raw, '\n'))
}

// replaceFile writes a file beside path, which then takes its name.
func replaceFile(path string, content []byte) error {
	temporary := path + ".part"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
