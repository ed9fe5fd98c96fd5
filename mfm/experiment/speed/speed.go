// Package speed measures the speed of training steps, of the passes that they consist of, of
// one-step samples, and of steered runs. Start with [Training], [Sampling] and [Steering]. The JAX
// programs in scripts/jax do the same work. [Memory] measures what gradient checkpointing saves,
// [Precision] the errors of computing in bfloat16, and [Idle] the time that a training waits for
// data.
//
// # Where the training step of the MLP spends its time
//
// scripts/profile.py counts the CPU time of a step by kind of code. The optimized graphs, which XLA
// writes for XLA_FLAGS="--xla_dump_to=DIR --xla_dump_hlo_as_text", have the same 35 matrix products
// here and in the JAX program for the semigroup loss, and fewer kernels here. Run by one build of
// XLA, five times in turn, a step takes 12.7 ms of CPU time here and 13.8 ms in JAX, of which 0.5
// ms pass the number of the step (medians, on two busy cores). What remains is inside XLA:
//
//   - YNNPACK computes all products but the gradients of weights, which contract the first axes of
//     both operands. XLA's code for these reorders an operand by scalar loads. They are a quarter
//     of the operations and more than a third of the products' time.
//   - go-xla does not tell XLA which inputs become outputs, so updated weights are in new buffers.
//     With input_output_alias in the graph a step takes 2 ± 2 % less CPU time.
//   - XLA rounds once for a multiplication and an addition in one kernel. A change of the graph
//     that moves an operation to another kernel therefore changes the last bits of a training.
package speed

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Case is what is measured.
type Case string

// The cases.
const (
	MLP   Case = "mlp"   // training of a map of the mixture, batch 1,024
	UNet  Case = "unet"  // training of a map of digits, batch 64
	DiT   Case = "dit"   // training of the map of [latent.DefaultConfig], batch 64, or its samples
	Steer Case = "steer" // a steered run, see [SteeringConfig]
)

// OneStep stands for a loss in the [Result] of [Sampling].
const OneStep = "one-step"

// Result is the speed of a training step and of its passes, of one-step samples, or of a steered
// run. Times depend on the machine. Numbers that do not apply are 0.
type Result struct {
	Case Case `json:"case"`
	// Loss is the consistency loss, for [Steer] the method, for samples [OneStep].
	Loss string `json:"loss"`
	// StepsPerSecond is the rate of training steps, of steps of a steered run, or of batches of
	// samples.
	StepsPerSecond float64 `json:"steps_per_s"`
	// CompileSeconds is the time until the end of the first step; for [Steer] and
	// samples it is what the first run takes longer than the others.
	CompileSeconds float64 `json:"compile_s"`
	// ForwardMS is the time of one evaluation of the map's velocity on the batch, in milliseconds.
	ForwardMS float64 `json:"forward_ms"`
	// JVPMS is the time of the velocity and its derivative along (s, x̄) by package ad.
	// DoubleReverseMS is that of the same by reverse over reverse mode, 0 if the host library has
	// no rule for it.
	JVPMS           float64 `json:"jvp_ms"`
	DoubleReverseMS float64 `json:"double_reverse_ms"`
	// PeakRSSMB is the largest resident memory of the process so far, 0 if the system does not
	// report it.
	PeakRSSMB float64 `json:"peak_rss_mb"`
	// StepGFLOP is the number of operations of a training step in its matrix products and
	// convolutions, in billions. MatrixGFLOPS is the rate of products of 1024x1024 matrices in the
	// same process, in billions of operations a second, and Share is the share of it that the steps
	// reach.
	StepGFLOP    float64 `json:"step_gflop"`
	MatrixGFLOPS float64 `json:"matrix_gflops"`
	Share        float64 `json:"share"`
	// XLAFlags are the flags that XLA was opened with.
	XLAFlags string `json:"xla_flags"`
}

// Training measures the training step of a case, [MLP], [UNet] or [DiT], with a loss from the data
// alone, or for DiT from the drift of the data's closed form, for about the given time by the clock
// now.
func Training(
	ctx context.Context, b compute.Backend, of Case, loss mfm.Consistency, duration time.Duration,
	now func() time.Time,
) (Result, error) {
	result := Result{Case: of, Loss: string(loss), XLAFlags: os.Getenv(backend.EnvXLAFlags)}
	p, err := newProblem(ctx, of, loss)
	if err != nil {
		return result, err
	}
	source := &counted{source: p.source}
	t, err := mfm.NewTrainer(b, p.m, source.build, p.teacher, p.config)
	if err != nil {
		return result, err
	}
	if err := result.timeSteps(ctx, t, duration, now); err != nil {
		return result, err
	}
	if result.MatrixGFLOPS, err = matrixRate(b, duration/4, now); err != nil {
		return result, err
	}
	result.StepGFLOP = source.operations(t.Store()) / 1e9
	result.Share = result.StepGFLOP * result.StepsPerSecond / result.MatrixGFLOPS
	dims := append([]int{p.config.Batch}, p.shape...)
	if err := result.timePasses(b, t.Store(), p.m, dims, duration/4, now); err != nil {
		return result, err
	}
	result.PeakRSSMB = peakRSS()
	return result, nil
}

// timeSteps times training steps, after the first one, which compiles, and three more.
func (r *Result) timeSteps(
	ctx context.Context, t *train.Trainer, duration time.Duration, now func() time.Time,
) error {
	step := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := t.Step()
		return err
	}
	start := now()
	if err := step(); err != nil {
		return err
	}
	r.CompileSeconds = now().Sub(start).Seconds()
	for range 3 {
		if err := step(); err != nil {
			return err
		}
	}
	seconds, err := secondsOf(step, duration, now)
	r.StepsPerSecond = 1 / seconds
	return err
}

// timeRuns times runs of a number of steps each, after the first one, which compiles.
func (r *Result) timeRuns(run func() error, steps int, duration time.Duration, now func() time.Time) error {
	first, err := secondsOf(run, 0, now)
	if err != nil {
		return err
	}
	each, err := secondsOf(run, duration, now)
	r.StepsPerSecond, r.CompileSeconds = float64(steps)/each, max(first-each, 0)
	r.PeakRSSMB = peakRSS()
	return err
}

// secondsOf returns the mean time of f, which it calls for about the given time, at least once.
func secondsOf(f func() error, duration time.Duration, now func() time.Time) (float64, error) {
	start := now()
	for n := 1; ; n++ {
		if err := f(); err != nil {
			return 0, err
		}
		if took := now().Sub(start); took >= duration {
			return took.Seconds() / float64(n), nil
		}
	}
}

// timePasses times the map's velocity and its derivatives on a batch of the given shape.
func (r *Result) timePasses(
	b compute.Backend, store *model.Store, m *mfm.Map, dims []int, duration time.Duration, now func() time.Time,
) error {
	state := shapes.Make(dtypes.Float32, dims...)
	network := func(s, xbar *Node) *Node {
		scope := model.GetStore(s).Scope(train.WeightsScope)
		in := nn.Inputs{S: s, U: OnesLike(s), T: MulScalar(s, 0.5), Xbar: xbar, X: MulScalar(xbar, 0.5)}
		return m.Velocity(scope, in)
	}
	derivative := func(jvp func(outputs, inputs, tangents []*Node) []*Node) func(s, xbar *Node) []*Node {
		return func(s, xbar *Node) []*Node {
			f := network(s, xbar)
			return []*Node{f, jvp([]*Node{f}, []*Node{s, xbar}, []*Node{OnesLike(s), Sin(xbar)})[0]}
		}
	}
	for _, pass := range []struct {
		ms    *float64
		build func(s, xbar *Node) []*Node
	}{
		{&r.ForwardMS, func(s, xbar *Node) []*Node { return []*Node{network(s, xbar)} }},
		{&r.JVPMS, derivative(ad.JVP)},
		{&r.DoubleReverseMS, derivative(ad.DoubleReverse)},
	} {
		exec, err := model.NewExec(b, store, func(_ *model.Scope, s, xbar *Node) *Node {
			outputs := pass.build(s, xbar)
			sum := ReduceAllSum(outputs[0])
			for _, y := range outputs[1:] {
				sum = Add(sum, ReduceAllSum(y))
			}
			return sum
		})
		if err != nil {
			return err
		}
		times := tensors.FromShape(shapes.Make(dtypes.Float32, dims[0]))
		ms, err := timeCalls(exec, times, tensors.FromShape(state), duration, now)
		exec.Finalize()
		if err != nil && pass.ms != &r.DoubleReverseMS {
			return err
		}
		*pass.ms = ms
	}
	return nil
}

// timeCalls returns the mean time of a call in milliseconds, after two calls, the first of which
// compiles.
func timeCalls(
	exec *model.Exec, s, xbar *tensors.Tensor, duration time.Duration, now func() time.Time,
) (float64, error) {
	call := func() error {
		out, err := exec.Call1(s, xbar)
		if err != nil {
			return err
		}
		_, err = tensors.CopyFlatData[float32](out)
		return err
	}
	for range 2 {
		if err := call(); err != nil {
			return 0, err
		}
	}
	seconds, err := secondsOf(call, duration, now)
	return 1000 * seconds, err
}

// peakRSS returns the largest resident memory of the process in MB, as Linux reports it, and 0
// elsewhere.
func peakRSS() float64 { return residentMB("VmHWM:") }

// residentMB returns a line of Linux's status of the process in MB, and 0 elsewhere.
func residentMB(name string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name {
			kb, _ := strconv.ParseFloat(fields[1], 64)
			return kb / 1024
		}
	}
	return 0
}
