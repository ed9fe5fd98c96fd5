package main

import (
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// gmmFlags are the flags for the configuration of a mixture's map.
type gmmFlags struct {
	*configFlags
	mixture *string
}

func (f *flags) withGMM(command string) gmmFlags {
	c := gmmFlags{configFlags: f.withConfig(command, mapOptions()...)}
	c.mixture = f.String("mixture", "", "JSON `file` of the mixture: weights, means, covariances (default: the paper's mixture)")
	return c
}

// experiment returns the experiment that the flags describe.
func (c gmmFlags) experiment() (*experiment.GMM, error) {
	config, err := c.config()
	if err != nil {
		return nil, invalid{err}
	}
	e, err := experiment.NewGMM(config)
	if err != nil {
		return nil, invalid{err}
	}
	return e, nil
}

// config returns the configuration: the preset with the options that are best for the loss, under what file and flags say. They say the loss, too, so they are read twice.
func (c gmmFlags) config() (experiment.GMMConfig, error) {
	first, err := experiment.GMMPreset(*c.preset)
	if err != nil {
		return first, err
	}
	if err := c.over(&first); err != nil {
		return first, err
	}
	config, err := experiment.GMMPreset(*c.preset)
	if err != nil {
		return config, err
	}
	config.Train.Steps = first.Train.Steps // warm-ups are shares of them
	config.SetLoss(first.Train.Loss.Consistency, first.Train.Loss.Distillation)
	return config, c.over(&config)
}

func (c gmmFlags) over(config *experiment.GMMConfig) error {
	if err := c.configure(config); err != nil {
		return err
	}
	if *c.mixture == "" {
		return nil
	}
	m, err := gmm.ReadFile(*c.mixture)
	if err != nil {
		return err
	}
	config.Mixture = m
	return nil
}

func (c gmmFlags) line() string {
	if *c.mixture == "" {
		return c.configFlags.line()
	}
	return c.configFlags.line("--mixture", quote(*c.mixture))
}
