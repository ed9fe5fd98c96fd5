package tune

import (
	"fmt"
	"path"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// Base is the distribution that is tuned: a function that returns its model with the weights in
// scope, and these weights, which are not trained.
type Base struct {
	Model   func(scope *model.Scope) (steer.Model, error)
	Weights map[string]*tensors.Tensor // by their paths below the scope
}

// baseScope is the scope of the base's weights, below [train.DataScope].
const baseScope = "base"

// MapBase is a map with other weights than m.Weights, by their paths below that scope. sampler says
// how posterior samples are drawn, see [steer.FromMap].
func MapBase(m mfm.Model, weights map[string]*tensors.Tensor, sampler mfm.SamplerConfig) Base {
	return Base{func(scope *model.Scope) (steer.Model, error) {
		m.Weights = scope
		return steer.FromMap(m, sampler)
	}, weights}
}

// ModelBase is a model without weights, such as [steer.FromTeacher] of a closed form. MFM-FT and
// the plug-in of MFM-G need gradients through posterior samples, which those of [steer.FromMixture]
// lack: they panic.
func ModelBase(m steer.Model) Base {
	return Base{Model: func(*model.Scope) (steer.Model, error) { return m, nil }}
}

// In adds the base's weights to a store and returns the model with these weights.
func (b Base) In(store *model.Store) (steer.Model, error) {
	scope := path.Join(train.DataScope, baseScope)
	if err := put(store, scope, b.Weights, false); err != nil {
		return steer.Model{}, fmt.Errorf("base weights: %w", err)
	}
	return b.Model(store.Scope(scope))
}
