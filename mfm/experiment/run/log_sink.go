package run

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/gomfm/gomfm/mfm/internal/tfevents"
)

// LogSink keeps the log of a run in a form that other programs read.
type LogSink interface {
	// WriteLog writes the log of the run in dir. Each time it is called it gets all entries: when a
	// run starts or resumes, and before each checkpoint. Entries of steps that a resumed run does
	// again are not among them. An error stops the training.
	WriteLog(dir string, log []LogEntry) error
}

// Files of the sinks in the folder of a run.
const (
	csvFile   = "log.csv"
	eventFile = "events.out.tfevents.mfm"
)

// CSVLog is the file log.csv, which is replaced in one step. The columns are step, loss,
// gradient_norm, rate and seconds, then the metrics in the order of their names; a metric that an
// entry lacks is empty.
type CSVLog struct{}

// WriteLog writes the file.
func (CSVLog) WriteLog(dir string, log []LogEntry) error {
	names := metricNames(log)
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	var file bytes.Buffer
	w := csv.NewWriter(&file)
	_ = w.Write(append([]string{"step", "loss", "gradient_norm", "rate", "seconds"}, names...)) // Flush keeps the error
	for _, e := range log {
		row := []string{strconv.FormatInt(e.Step, 10), number(e.Loss), number(e.GradientNorm), number(e.Rate),
			number(e.Seconds)}
		for _, name := range names {
			cell := ""
			if v, ok := e.Metrics[name]; ok {
				cell = number(v)
			}
			row = append(row, cell)
		}
		_ = w.Write(row)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("%s: %w", csvFile, err)
	}
	return ReplaceFile(filepath.Join(dir, csvFile), file.Bytes())
}

// EventLog is an event file of TensorBoard with the loss, the gradient norm, the rate and the
// metrics as scalars. An entry's time is that of the manifest and the entry's seconds of training,
// without interruptions. A file that a run has begun is continued also without this sink. Entries
// are appended to it, so that TensorBoard follows a training; if others were in their place, the
// file is replaced in one step.
type EventLog struct{}

// WriteLog writes the file.
func (EventLog) WriteLog(dir string, log []LogEntry) error {
	info, err := os.Stat(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	began := float64(info.ModTime().UnixNano()) / float64(time.Second)
	file := tfevents.AppendHeader(nil, began)
	for _, e := range log {
		scalars := []tfevents.Scalar{
			{Tag: "loss", Value: float32(e.Loss)}, {Tag: "gradient_norm", Value: float32(e.GradientNorm)},
			{Tag: "rate", Value: float32(e.Rate)},
		}
		for _, name := range slices.Sorted(maps.Keys(e.Metrics)) {
			scalars = append(scalars, tfevents.Scalar{Tag: name, Value: float32(e.Metrics[name])})
		}
		file = tfevents.AppendScalars(file, began+e.Seconds, e.Step, scalars...)
	}
	return extendFile(filepath.Join(dir, eventFile), file)
}

// metricNames returns the names of the metrics of all entries, sorted.
func metricNames(log []LogEntry) []string {
	names := make(map[string]bool)
	for _, e := range log {
		for name := range e.Metrics {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// extendFile gives a file a content. It appends what is missing to a file that has the beginning,
// possibly torn by a kill, and replaces any other file.
func extendFile(path string, content []byte) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !bytes.HasPrefix(content, old) {
		return ReplaceFile(path, content)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content[len(old):])
	return errors.Join(err, f.Close())
}
