// Package notebook is what the cells of the notebooks share: scale ([Preset], [ByPreset]), device
// ([Device], [Setup]), folders ([Figures], [Folder]), display ([Show], [LossCurve], [Progress],
// [PrintVerdict]), stored results ([Results], [ReadJSON], [WriteJSON]), sweeps ([Complete]), data
// to try ([ExamplePoints], [ExamplePictures]) and errors ([Must]). A cell is a small program of its
// own, so these functions print, panic and exit, which no other package of mfm does. Notebooks
// import it with a dot.
package notebook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/gomlx/compute"
	"github.com/janpfeifer/gonb/gonbui"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// Must panics if err is not nil.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Must1 returns v. It panics if err is not nil.
func Must1[T any](v T, err error) T {
	Must(err)
	return v
}

// Must2 returns a and b. It panics if err is not nil.
func Must2[A, B any](a A, b B, err error) (A, B) {
	Must(err)
	return a, b
}

// Setup prints the preset and the device, see [Device].
func Setup() { fmt.Println(Preset(), "preset on", backend.Describe(Device())) }

// Preset returns the scale of a notebook: the environment variable MFM_PRESET, or "quick", which
// takes minutes on two CPU cores. "full" is the scale of the stored results.
func Preset() string { return cmp.Or(os.Getenv("MFM_PRESET"), "quick") }

// Full reports whether the preset is "full".
func Full() bool { return Preset() == "full" }

// ByPreset returns the second value with the preset "full", and the first with others.
func ByPreset[T any](quick, full T) T {
	if Full() {
		return full
	}
	return quick
}

// Figures returns the folder for a notebook's figures and results, which it creates: the
// environment variable MFM_FIGURES; else ../figures for the preset "full", whose results are in the
// repository, and a folder below it, with the preset's name, for others.
func Figures() string {
	dir := "../figures"
	if !Full() {
		dir += "/" + Preset()
	}
	dir = cmp.Or(os.Getenv("MFM_FIGURES"), dir)
	Must(os.MkdirAll(dir, 0o755))
	return dir
}

// Folder returns the path of a folder for a training with the given configuration, one for each
// configuration. encoding/json must be able to encode it.
func Folder(name string, config any) string {
	sum := sha256.Sum256(Must1(json.Marshal(config)))
	return fmt.Sprintf("../.cache/%s-%x", name, sum[:4])
}

// Device returns the default backend, see [backend.New], which its first call in a cell opens. That
// call prints a note if it is the pure-Go backend because XLA is missing.
func Device() compute.Backend { return device() }

var device = sync.OnceValue(func() compute.Backend {
	b := Must1(backend.New(""))
	if text := backend.Missing(""); text != "" {
		fmt.Println("Note:", text)
	}
	return b
})

// Context returns a context that ends when the cell is interrupted, and a function that releases
// it.
func Context() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}

// Finish ends the cell if err, of a training, is not nil. If the training was interrupted, its last
// step is saved, and Finish says so and exits, so that nothing below it runs. It also exits with a
// line if the folder of the run is in use or holds another run. Otherwise it panics.
func Finish(err error) {
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Printf("Interrupted: %v. Run this cell again to resume.\n", err)
	case errors.Is(err, checkpoint.ErrLocked), errors.Is(err, run.ErrOtherRun):
		fmt.Printf("Not trained: %v.\n", err)
	default:
		Must(err)
		return
	}
	os.Exit(1)
}

// Complete runs the settings of which neither s.Dir nor the file s.Stored has a result, shows how
// many are done, and writes the results to that file; see [sweep.Complete]. It ends the cell as
// [Finish] does.
func Complete[S, R any](
	ctx context.Context, s sweep.Sweep, settings []S, do func(context.Context, S) (R, error),
	keep func(name, test string) bool,
) {
	bar := Progress()
	s.Done = func(i, n int) { bar.Update(progress.Report{Step: int64(i), Total: int64(n)}) }
	Finish(sweep.Complete(ctx, s, settings, do, keep))
}

// PrintVerdict prints the sentences of a verdict on a trained map, such as those of
// experiment.Verdict, one per line. It ends the cell as [Finish] does if err is not nil.
func PrintVerdict(sentences []string, err error) {
	Finish(err)
	for _, s := range sentences {
		fmt.Println(s)
	}
}

// Progress returns the bar that shows a training below the cell.
func Progress() progress.Sink { return progress.Auto(os.Stdout) }

// Show displays a figure and saves it as a PNG under that name in [Figures].
func Show(f *figure.Figure, name string) {
	Must(f.Show())
	Must(f.Save(filepath.Join(Figures(), name)))
	gonbui.Sync()
}

// LossCurve returns a hook that draws the curve of a loss below the cell during the training in
// dir, with the steps done before an interruption. The hook panics if the curve cannot be drawn.
func LossCurve(dir string, loss mfm.Loss) train.Hook {
	live := figure.NewLive(figure.Notebook(), nil)
	live.Title = fmt.Sprintf("%s loss, %s", loss.Consistency, loss.Distillation)
	log, _ := run.ReadLog(dir) // empty at the start of a run
	for _, entry := range log {
		live.Update(int(entry.Step), entry.Loss)
	}
	return train.Hook{
		Step: func(_ *train.Trainer, m train.Metrics) error {
			live.Update(int(m.Step), m.Loss)
			return nil
		},
		End: func(*train.Trainer, error) { Must(live.Close()) },
	}
}

// ShowTable displays a table.
func ShowTable(t figure.Table) {
	Must(t.Show())
	gonbui.Sync()
}

// ShowExplorer displays an interactive figure.
func ShowExplorer(e figure.Explorer) {
	Must(e.Show())
	gonbui.Sync()
}

// WriteJSON writes v as JSON to the file with that name in [Figures].
func WriteJSON(name string, v any) { Must(run.WriteJSON(filepath.Join(Figures(), name), v)) }

// ReadJSON returns the value in the JSON file with that name: with the preset "quick" the one in
// the repository, with others the one in [Figures].
func ReadJSON[T any](name string) T {
	dir := "../figures"
	if Preset() != "quick" {
		dir = Figures()
	}
	var v T
	Must(json.Unmarshal(Must1(os.ReadFile(filepath.Join(dir, name))), &v))
	return v
}

// Results returns the results in the JSON file with that name in [Figures] if the preset is "full"
// and the file exists, and says so. Otherwise it returns those of compute and writes them to the
// file.
func Results[R any](name string, compute func() R) R {
	path := filepath.Join(Figures(), name)
	if _, err := os.Stat(path); Full() && err == nil {
		fmt.Printf("Results of %s. Delete the file to compute them again.\n", path)
		return ReadJSON[R](name)
	}
	results := compute()
	WriteJSON(name, results)
	return results
}
