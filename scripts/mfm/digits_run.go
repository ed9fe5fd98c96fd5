package main

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/train"
)

// digitsRun is a trained map of images with its weights and the images that it has not seen.
type digitsRun struct {
	*experiment.Digits
	store   *model.Store
	heldOut *data.Images
}

// openDigits opens the run on the images in folder, or where that is empty on those that the run's manifest names.
func (f *samplerFlags) openDigits(folder string) (*digitsRun, error) {
	dir := *f.checkpoint
	load := func() (train, heldOut *data.Images, err error) { return experiment.RunImages(dir) }
	if folder != "" {
		load = func() (train, heldOut *data.Images, err error) { return experiment.LoadImages(folder) }
	}
	train, heldOut, err := load()
	if err != nil {
		return nil, invalid{err}
	}
	e, store, err := experiment.OpenDigits(dir, train)
	if err != nil {
		return nil, invalid{err}
	}
	if store, err = f.weights(store); err != nil {
		return nil, err
	}
	return &digitsRun{e, store, heldOut}, nil
}

// sampler draws from the run's map. With guidance other than one it draws from the map's drift, guided toward the class.
func (r *digitsRun) sampler(b compute.Backend, config mfm.SamplerConfig, guidance float64) (*mfm.Sampler, error) {
	if guidance == 1 {
		return mfm.NewSampler(b, r.store, train.WeightsScope, r.Map, r.Shape(), config)
	}
	drift := mfm.ClassifierFree(r.Map.DriftIn(r.store.Scope(train.WeightsScope)), guidance, config.Classes)
	return mfm.NewTeacherSampler(b, r.store, r.Map.Interpolant, drift, r.Shape(), config)
}

// checkNoClass returns an error where samples need the map of no class, and a map with classes was never trained for that.
func (r *digitsRun) checkNoClass(needed bool) error {
	if needed && r.Config.Network.Classes > 0 && r.Config.Train.Loss.Guidance.Dropout == 0 {
		return invalidf("the map was trained with train.loss.guidance.dropout = 0, so it knows nothing of \"no class\": name one with --class, or train it with a dropout")
	}
	return nil
}
