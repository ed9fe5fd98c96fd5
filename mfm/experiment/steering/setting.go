// Package steering runs steered samples of any task: a [Setting] says how to steer, a [Task] runs
// it and evaluates the samples, and a [Result] holds what all tasks report.
//
// Packages mixture and image build the tasks; their results embed [Result]. A [Grid] declares the
// settings of an experiment, and package sweep runs them.
package steering

import (
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Unsteered is the name of the method that samples the model itself.
const Unsteered = "unsteered"

// Setting is one steered run: all that its result depends on. Its JSON is what
// [github.com/gomfm/gomfm/mfm/experiment/sweep.Name] hashes.
type Setting struct {
	// Fingerprint is that of the task, see [Base].
	Fingerprint string `json:"fingerprint"`
	// Method is the name of a method in [steer.Methods]. N and Particles are those of
	// [steer.Options].
	Method    string `json:"method"`
	N         int    `json:"n"`
	Particles int    `json:"particles,omitempty"`
	Options

	Samples int          `json:"samples"`
	Seed    int64        `json:"seed"`
	Config  steer.Config `json:"config"`
}

// Options are the options of a [Setting] that its result repeats.
type Options struct {
	// Baseline, Antithetic, LeaveOneOut, Shared, Resampling, Threshold and SNR are those of
	// [steer.Options].
	Baseline    steer.Baseline `json:"baseline,omitempty"`
	Antithetic  bool           `json:"antithetic,omitempty"`
	LeaveOneOut bool           `json:"leave_one_out,omitempty"`
	Shared      bool           `json:"shared,omitempty"`
	// Posterior and PosteriorSteps say how a map samples the posterior for an estimate:
	// [mfm.MapSampling], in one step by default, or [mfm.ODESampling], in PosteriorSteps steps of
	// Heun's method along the diagonal v_{s,s}, at least 2.
	Posterior      mfm.Sampling     `json:"posterior,omitempty"`
	PosteriorSteps int              `json:"posterior_steps,omitempty"`
	Resampling     steer.Resampling `json:"resampling,omitempty"`
	Threshold      *float64         `json:"threshold,omitempty"`
	SNR            float64          `json:"snr,omitempty"`
	// Class conditions a map that has classes; nil means no class. Guidance is the scale of
	// classifier-free guidance of its drift, see [steer.Model.Guided]; 0 means none, or that of
	// [mfm.Model].ClassScale. The samples are compared with the target of the class without guidance.
	Class    *int    `json:"class,omitempty"`
	Guidance float64 `json:"guidance,omitempty"`
	// GuidePosterior applies the guidance to the posterior samples of an estimate, too, see
	// [mfm.Model.Guided].
	GuidePosterior bool `json:"guide_posterior,omitempty"`
	// Pool keeps the rewards of unsteered samples in the result, see [Result].PoolRewards.
	Pool bool `json:"pool,omitempty"`
}

// SteerMethod returns the method that the setting names. exact is the value in closed form, nil if
// it is not known.
func (s Setting) SteerMethod(exact *steer.Exact) (steer.Method, error) {
	entry, err := steer.Lookup(s.Method)
	if err != nil {
		return nil, err
	}
	return entry.New(steer.Options{
		Config: s.Config, N: s.N, Antithetic: s.Antithetic, LeaveOneOut: s.LeaveOneOut, Shared: s.Shared,
		Baseline: s.Baseline, Particles: s.Particles, Resampling: s.Resampling, Threshold: s.Threshold, Exact: exact,
		SNR: s.SNR,
	})
}

// Check returns an error that says why the setting cannot be run. exact is that of SteerMethod.
func (s Setting) Check(exact *steer.Exact) error {
	if s.Config.NoiseSchedule != nil {
		return fmt.Errorf("method %s: a setting has no JSON for a noise schedule: use package steer directly", s.Method)
	}
	if s.Pool && s.Method != Unsteered {
		return fmt.Errorf("method %s with pool: only the method %s draws a pool", s.Method, Unsteered)
	}
	m, err := s.SteerMethod(exact)
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if k := m.Group(); s.Samples < 2 || s.Samples%k != 0 {
		return fmt.Errorf("%v: samples = %d: must be at least 2 and a multiple of its %d particles", m, s.Samples, k)
	}
	return nil
}

// RunSettings are the settings that a result repeats, besides those that identify its method.
type RunSettings struct {
	Samples   int `json:"samples"`
	Steps     int `json:"steps"`
	Particles int `json:"particles,omitempty"`
	// Device is "cuda" for a run on a GPU and empty on a CPU. Microbatches are larger on a GPU, so
	// that the same seed gives other samples.
	Device string `json:"device,omitempty"`
	Options
	// Config is nil for a tuned drift, and for results of versions that did not store it.
	Config *steer.Config `json:"config,omitempty"`
}

// Device returns "cuda" for a GPU and "" for a CPU.
func Device(b compute.Backend) string {
	if backend.GPU(b) {
		return "cuda"
	}
	return ""
}

// runSettings returns the settings to repeat in a result.
func (s Setting) runSettings(b compute.Backend) RunSettings {
	return RunSettings{
		Samples: s.Samples, Steps: s.Config.Steps, Particles: s.Particles, Device: Device(b), Options: s.Options,
		Config: &s.Config,
	}
}
