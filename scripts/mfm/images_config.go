package main

import (
	"path/filepath"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// imageFlags are the flags for the configuration of what is trained on images.
type imageFlags struct {
	*configFlags
	data   *string
	noised *bool // of classifiers
}

func (f *flags) withDigits(command string) imageFlags {
	return imageFlags{configFlags: f.withConfig(command, mapOptions()...), data: f.withData()}
}

func (f *flags) withClassifier(command string) imageFlags {
	c := imageFlags{configFlags: f.withConfig(command, trainOptions()...), data: f.withData()}
	c.noised = f.Bool("noised", false, "classify noised images x_t, with t as an input")
	return c
}

// withData adds the flag that names the images.
func (f *flags) withData() *string {
	return f.String("data", "", "`folder` of the four IDX files of a data set such as MNIST (default: the 10,000 digits in the package)")
}

// folder returns the folder of the images as a manifest has it.
func (c imageFlags) folder() string {
	if *c.data == "" {
		return ""
	}
	return filepath.Clean(*c.data)
}

func (c imageFlags) images() (*data.Images, error) {
	train, _, err := experiment.LoadImages(c.folder())
	if err != nil {
		return nil, invalid{err}
	}
	return train, nil
}

// digits returns the configuration of a map of images.
func (c imageFlags) digits() (experiment.DigitsConfig, error) {
	config, err := experiment.DigitsPreset(*c.preset)
	if err == nil {
		err = c.configure(&config)
	}
	if err != nil {
		return config, invalid{err}
	}
	return config, nil
}

// classifier returns the configuration of a classifier.
func (c imageFlags) classifier() (experiment.ClassifierConfig, error) {
	config, err := experiment.ClassifierPreset(*c.preset, *c.noised)
	if err == nil {
		err = c.configure(&config)
	}
	if err != nil {
		return config, invalid{err}
	}
	return config, nil
}

func (c imageFlags) line() string {
	var more []string
	if c.noised != nil && *c.noised {
		more = append(more, "--noised")
	}
	if *c.data != "" {
		more = append(more, "--data", quote(*c.data))
	}
	return c.configFlags.line(more...)
}
