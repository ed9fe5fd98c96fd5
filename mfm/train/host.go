package train

import (
	"context"
	"errors"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/solver"
)

// HostBatch is a batch of training data on the host: samples, [batch, ...], and their classes,
// int32 [batch], or nil. All batches of a training have the same shapes.
type HostBatch struct {
	Samples, Classes *tensors.Tensor
}

// Loader returns the batch of a step, which counts from 1. It must depend on the step alone, not on
// previous calls, so that a resumed training sees the same batches. It is called for one step at a
// time, on another goroutine, while the device runs the steps before. ctx ends with the training.
// The trainer owns the tensors and frees them.
type Loader func(ctx context.Context, step int64) (HostBatch, error)

// FromHost returns a source of batches that load reads on the host, such as a data set too large
// for the device, and the hook that passes each batch to the compiled step. Of several devices each
// receives its part of the batch. At most ahead batches, at least 1, are loaded in advance. The
// trainer must have the hook ([Trainer.AddHook]), without which its graph panics, and Accumulate =
// 1. An error of load stops the training before its step.
func FromHost(load Loader, ahead int) (Source, Hook) {
	f := &feed{load: load, ahead: max(ahead, 1)}
	return f.source, Hook{Name: "host batches", Start: f.start, Before: f.before, End: f.end}
}

// feed loads batches in advance and sets the variables that the step reads.
type feed struct {
	load   Loader
	ahead  int
	batch  HostBatch // of the next step
	loaded chan loadedBatch
	stop   context.CancelFunc
}

type loadedBatch struct {
	HostBatch
	err error
}

var errNoBatch = errors.New("host batches: no batch is loaded: add the hook of train.FromHost to the trainer")

const samplesName, classesName = "host_samples", "host_classes"

func (f *feed) source(scope *model.Scope, g *Graph, _ *solver.RNG, n int) (data, class *Node) {
	switch {
	case f.batch.Samples == nil:
		panic(errNoBatch)
	case f.batch.Samples.Shape().Dim(0) != n:
		Panicf("host batches have shape %s, the trainer's batch is %d", f.batch.Samples.Shape(), n)
	}
	data = f.rows(scope, g, samplesName, f.batch.Samples)
	if f.batch.Classes != nil {
		class = f.rows(scope, g, classesName, f.batch.Classes)
	}
	return data, class
}

// rows returns a value of the batch like [DeviceValue]. On several devices each has its rows alone.
func (f *feed) rows(scope *model.Scope, g *Graph, name string, value *tensors.Tensor) *Node {
	devices.Variable(scope.VariableWithValue(name, value), g)
	return DeviceValue(scope, g, name, value)
}

// start begins to load from the step after the last one.
func (f *feed) start(t *Trainer) error {
	ctx, stop := context.WithCancel(context.Background())
	loaded, first, last := make(chan loadedBatch, f.ahead-1), t.Done()+1, t.Config().Steps
	f.stop, f.loaded = stop, loaded
	go func() {
		defer close(loaded)
		for step := first; step <= last; step++ {
			b, err := f.load(ctx, step)
			if err == nil && b.Samples == nil {
				err = fmt.Errorf("the loader returns no samples for step %d", step)
			}
			select {
			case loaded <- loadedBatch{b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return nil
}

// before waits for the batch of the next step and passes it to the step's variables.
func (f *feed) before(ctx context.Context, t *Trainer) error {
	if k := t.Config().Accumulate; k > 1 {
		return fmt.Errorf("accumulate = %d: use 1, and larger batches", k)
	}
	if f.loaded == nil {
		return fmt.Errorf("step %d without a start: train by Run", t.Done()+1)
	}
	select {
	case next, open := <-f.loaded:
		switch {
		case !open:
			return fmt.Errorf("no batch for step %d", t.Done()+1)
		case next.err != nil:
			return fmt.Errorf("loading the batch of step %d: %w", t.Done()+1, next.err)
		case f.batch.Samples != nil && !next.Samples.Shape().Equal(f.batch.Samples.Shape()):
			return fmt.Errorf("the batch of step %d has shape %s, those before %s", t.Done()+1, next.Samples.Shape(),
				f.batch.Samples.Shape())
		case f.batch.Samples != nil && !sameLabels(next.Classes, f.batch.Classes):
			return fmt.Errorf("the labels of the batch of step %d do not have the shape of those before", t.Done()+1)
		}
		f.batch = next.HostBatch
	case <-ctx.Done():
		return fmt.Errorf("waiting for the batch of step %d: %w", t.Done()+1, context.Cause(ctx))
	}
	for name, value := range map[string]*tensors.Tensor{samplesName: f.batch.Samples, classesName: f.batch.Classes} {
		if v := t.Store().GetVariable(model.JoinPath(DataScope, name)); v != nil && value != nil {
			if err := v.SetValue(value); err != nil {
				return fmt.Errorf("passing the batch of step %d: %w", t.Done()+1, err)
			}
		}
	}
	return nil
}

// end waits for the loader and drops the batches that it has loaded in advance.
func (f *feed) end(*Trainer, error) {
	if f.stop == nil {
		return
	}
	f.stop()
	for b := range f.loaded {
		for _, x := range []*tensors.Tensor{b.Samples, b.Classes} {
			if x != nil {
				x.MustFinalizeAll()
			}
		}
	}
	f.stop, f.loaded = nil, nil
}

func sameLabels(a, b *tensors.Tensor) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Shape().Equal(b.Shape())
}
