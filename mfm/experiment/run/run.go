// Package run keeps a training in a folder: its configuration and manifest, a log, checkpoints, and
// at the end the averaged weights. An interrupted run resumes where it stopped, with the same
// result.
//
// [Train] trains, with [Options] for what to keep and to show; [Open] returns the weights of a run
// and [ReadConfig] its configuration.
package run

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
	"strings"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
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

// ErrOtherRun is wrapped by the error of a folder that holds a run with another configuration.
var ErrOtherRun = errors.New("another run")

// OtherRunError is the error of a folder that holds a run with another configuration. It wraps
// [ErrOtherRun].
type OtherRunError struct {
	Dir     string
	Command string // of the manifest in Dir, empty if it has none
}

// Error names the folder and the command.
func (e *OtherRunError) Error() string {
	if e.Command == "" {
		return fmt.Sprintf("%v: folder %s holds a run with another configuration: use another folder", ErrOtherRun, e.Dir)
	}
	return fmt.Sprintf("%v: folder %s holds the run of `%s`: use another folder, or resume with that command",
		ErrOtherRun, e.Dir, e.Command)
}

// Unwrap returns [ErrOtherRun].
func (*OtherRunError) Unwrap() error { return ErrOtherRun }

// Manifest is the description of a run in its folder.
type Manifest struct {
	// Kind is that of the task, such as "gmm".
	Kind string `json:"kind"`
	// Command is the command line that reproduces the run.
	Command string `json:"command"`
	// Data is the location of the data, such as a folder. Empty means the data in the package.
	// DataHash is a hash of the content of the training data, HeldOutHash of the held-out data. They
	// are empty if the task has no such data or in runs that are older than these hashes.
	Data        string `json:"data,omitempty"`
	DataHash    string `json:"data_hash,omitempty"`
	HeldOutHash string `json:"held_out_hash,omitempty"`
	// Shape is that of a sample, such as height, width and channels. Empty means that it is not
	// known.
	Shape []int `json:"shape,omitempty"`
	// Init is the folder of the run, or the file, whose weights this one started with. Empty means
	// random weights.
	Init string `json:"init,omitempty"`
	// Config is the task's configuration.
	Config json.RawMessage `json:"config"`
}

// Options say what a run keeps and shows.
type Options struct {
	// Dir is the folder of the run. Empty means that nothing is kept.
	Dir string
	// Command, Data, DataHash, HeldOutHash and Init are those of the [Manifest], which has folders
	// by their absolute paths. Init must be a finished run with the same network, unless there are
	// InitWeights.
	Command, Data, DataHash, HeldOutHash, Init string
	// InitWeights are the weights of the file Init, by their paths below [train.WeightsScope]; nil
	// means that Init is a run. They then belong to the trainer. A run that has begun ignores them.
	InitWeights map[string]*tensors.Tensor
	// Shape is that of the manifest.
	Shape []int
	// Every is the number of steps between checkpoints, Keep the number of the newest ones that
	// stay. Zero means a twentieth of the run, and two.
	Every int64
	Keep  int
	// Logs are further forms in which the folder keeps the log, such as [EventLog], besides log.json
	// and the [CSVLog].
	Logs []LogSink
	// Sink shows the progress. Nil means no progress bar.
	Sink progress.Sink
	// Hooks are added to those of the training.
	Hooks []train.Hook
	// OnDamage is called with the error of each damaged checkpoint. Nil means no callback.
	OnDamage func(error)
	// Restart starts from step zero if no checkpoint of a run is intact, and then removes the final
	// weights of a run that has ended. Otherwise that is an error that wraps [train.ErrDamaged], for
	// a run that has ended or whose checkpoints are damaged.
	Restart bool
	// Now is the clock of the log. Nil means time.Now.
	Now func() time.Time
	// Sleep waits for d between two attempts to open a folder in use. If ctx ends first, it returns
	// an error. Nil means a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Prepare checks the folder of o for a run of this kind and configuration before long work, as
// [Train] does: see [Options.Claim]. If another process has the folder open, it waits a few
// seconds.
func (o Options) Prepare(ctx context.Context, kind string, config any) error {
	if o.Dir == "" {
		return nil
	}
	if err := o.Claim(kind, config); err != nil {
		return err
	}
	return o.waitForFolder(ctx)
}

// Train trains and keeps everything in the folder of o: configuration, log, checkpoints, and at the
// end the averaged weights. It resumes an interrupted run in the same folder and ends as if the run
// had never been interrupted; only the seconds of the log differ. kind and config describe the run
// in its manifest.
func Train(ctx context.Context, t *train.Trainer, kind string, config any, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	total, keep := t.Config().Steps, cmp.Or(o.Keep, 2)
	if o.Every == 0 {
		o.Every = max(total/20, 1)
	}
	if o.Init != "" && !Begun(o.Dir) {
		if err := o.initialize(t, kind, config); err != nil {
			return err
		}
	}
	if err := o.Prepare(ctx, kind, config); err != nil {
		return err
	}
	if o.Dir != "" {
		if err := o.checkEnded(); err != nil {
			return err
		}
	}
	if o.Dir != "" && o.Restart {
		t.AddHook(train.Hook{Start: func(t *train.Trainer) error {
			if t.Done() > 0 {
				return nil
			}
			// Else [Open] would take the weights before for those of the new training.
			if err := os.Remove(filepath.Join(o.Dir, weightsFile)); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}})
	}
	log := newLog(total, o.Now)
	log.sinks = append([]LogSink{CSVLog{}}, o.Logs...)
	t.AddHook(log.hook(o.Dir, keep))
	if o.Sink != nil {
		t.AddHook(progressHook(o.Sink, log, total))
	}
	for _, h := range o.Hooks {
		t.AddHook(h)
	}
	err := train.Run(ctx, t, train.Options{
		Dir: o.Dir, Every: o.Every, Keep: keep, OnDamage: o.OnDamage, Restart: o.Restart,
	})
	if err != nil || o.Dir == "" {
		return err
	}
	return ExportWeights(t, o)
}

// checkEnded returns an error if the run has ended but has no checkpoint, so that training would
// replace its final weights by those of a start from step zero.
func (o Options) checkEnded() error {
	ended, err := Exported(o.Dir)
	if err != nil || !ended || o.Restart {
		return err
	}
	if _, damaged, err := checkpoint.Latest(o.Dir); errors.Is(err, checkpoint.ErrNone) && len(damaged) == 0 {
		return fmt.Errorf("run %s: %w: the run has ended and its checkpoints are gone: "+
			"use its weights, or restart from step zero, which replaces them", o.Dir, train.ErrDamaged)
	}
	return nil
}

// progressHook returns the hook that shows the progress of a training, once it has started.
func progressHook(sink progress.Sink, log *runLog, total int64) train.Hook {
	started := false
	return train.Hook{
		Priority: train.PriorityProgress,
		Start: func(t *train.Trainer) error {
			started = true
			if t.Done() < total {
				sink.Update(progress.Report{Step: t.Done(), Total: total, Doing: "compiling"})
			}
			return nil
		},
		Step: func(_ *train.Trainer, m train.Metrics) error {
			sink.Update(progress.Report{Step: m.Step, Total: total, Loss: log.recent()})
			return nil
		},
		End: func(t *train.Trainer, err error) {
			if !started {
				return
			}
			var stopped *train.StoppedError // the report has its number of steps
			if OnlyErrors(err, func(err error) (is bool) { stopped, is = err.(*train.StoppedError); return is }) {
				err = stopped.Cause
			}
			sink.Done(progress.Report{Step: t.Done(), Total: total, Loss: log.recent(), Elapsed: log.elapsed()}, err)
		},
	}
}

// Claim creates the folder of a run with its manifest, or compares the manifest that is there.
// kind, data, initial weights and configuration must be the same; the command may differ. Data are
// compared by their hashes, or by their folders if one of the two has no hash.
// [train.Run] compares only what the training depends on, whereas a run depends on the
// distribution, the network and the data as well. The error of a folder with another run wraps
// [ErrOtherRun].
func (o Options) Claim(kind string, configuration any) error {
	raw, err := json.Marshal(configuration)
	if err != nil {
		return fmt.Errorf("run: encoding the configuration: %w", err)
	}
	m := Manifest{
		Kind: kind, Command: o.Command, Data: absolute(o.Data), DataHash: o.DataHash, HeldOutHash: o.HeldOutHash,
		Shape: o.Shape, Init: absolute(o.Init), Config: raw,
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	path := filepath.Join(o.Dir, configFile)
	old, err := config.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return WriteJSON(path, m)
	}
	var there Manifest
	if err == nil {
		err = strictjson.Decode(old, &there)
	}
	if err != nil {
		return fmt.Errorf("run %s: %s: %w", o.Dir, configFile, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, there.Config); err != nil {
		return fmt.Errorf("run %s: %s: %w", o.Dir, configFile, err)
	}
	hashed := there.DataHash != "" && m.DataHash != ""
	if there.Kind != m.Kind || !hashed && absolute(there.Data) != m.Data || absolute(there.Init) != m.Init ||
		!bytes.Equal(compact.Bytes(), m.Config) {
		return &OtherRunError{o.Dir, there.Command}
	}
	if hashed {
		if err := there.CheckData(m.DataHash, m.HeldOutHash); err != nil {
			return fmt.Errorf("%w: folder %s: %w, or another folder", ErrOtherRun, o.Dir, err)
		}
	}
	return nil
}

// CheckData returns an error unless the hashes are those of the run's training and held-out data. A
// hash that the run does not have is not compared, nor is heldOut if it is empty.
func (m Manifest) CheckData(hash, heldOut string) error {
	if m.DataHash != "" && m.DataHash != hash {
		was, is := shortened(m.DataHash, hash)
		return fmt.Errorf("the data have changed: the run was trained on data with the hash %s, these have %s: "+
			"use the same data", was, is)
	}
	if m.HeldOutHash != "" && heldOut != "" && m.HeldOutHash != heldOut {
		was, is := shortened(m.HeldOutHash, heldOut)
		return fmt.Errorf("the held-out data have changed: those of the run have the hash %s, these have %s: "+
			"use the same data", was, is)
	}
	return nil
}

// shortened returns 16 characters of two hashes, or all if these are equal: hashes of picture files
// end with their size.
func shortened(a, b string) (string, string) {
	if x, y := fmt.Sprintf("%.16s", a), fmt.Sprintf("%.16s", b); x != y {
		return x, y
	}
	return a, b
}

// absolute returns the absolute path of a folder, empty for none.
func absolute(dir string) string {
	if dir == "" {
		return ""
	}
	if path, err := filepath.Abs(dir); err == nil {
		return path
	}
	return filepath.Clean(dir)
}

// waitForFolder waits up to five seconds for a process that still has the folder's checkpoints
// open, such as one that was just killed.
func (o Options) waitForFolder(ctx context.Context) error {
	const tries = 50
	for i := 1; ; i++ {
		checkpoints, err := checkpoint.Open(o.Dir, 1)
		if err == nil {
			return checkpoints.Close()
		}
		if !errors.Is(err, checkpoint.ErrLocked) || i == tries || o.sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

func (o Options) sleep(ctx context.Context, d time.Duration) error {
	if o.Sleep != nil {
		return o.Sleep(ctx, d)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ReadManifest returns the manifest of the run in dir, or an error if its kind is not one of those
// given. No kinds means any.
func ReadManifest(dir string, kinds ...string) (Manifest, error) {
	var m Manifest
	raw, err := config.ReadFile(filepath.Join(dir, configFile))
	if err == nil {
		err = strictjson.Decode(raw, &m)
	}
	if errors.Is(err, os.ErrNotExist) {
		if _, none := os.Stat(dir); none != nil {
			return m, fmt.Errorf("folder %s of a run: %w", dir, errors.Unwrap(none))
		}
	}
	if err != nil {
		return m, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	if len(kinds) > 0 && !slices.Contains(kinds, m.Kind) {
		return m, fmt.Errorf(`run %s is of kind %q, want "%s"`, dir, m.Kind, strings.Join(kinds, `" or "`))
	}
	return m, nil
}

// ReadConfig decodes the configuration of the run in dir, of one of the given kinds, into v.
func ReadConfig(dir string, v any, kinds ...string) (Manifest, error) {
	m, err := ReadManifest(dir, kinds...)
	if err != nil {
		return m, err
	}
	if err := strictjson.DecodeStored(m.Config, v); err != nil {
		return m, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	return m, nil
}

// Seconds returns the seconds of a run's training from its log, or those since began if there is no
// log.
func Seconds(dir string, began time.Time) float64 {
	if dir != "" {
		if log, err := ReadLog(dir); err == nil && len(log) > 0 {
			return log[len(log)-1].Seconds
		}
	}
	return time.Since(began).Seconds()
}
