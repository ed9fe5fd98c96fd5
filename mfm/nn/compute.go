package nn

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Computing returns a backbone that computes in another type, such as BFloat16: it converts the
// states to the type and the output back. Times keep their type, of which the embeddings need all
// digits. Weights of layers that compute in 16 bits stay float32, and
// so do their gradients and moments. States outside the backbone keep their type.
func Computing(dtype dtypes.DType, b Backbone) Backbone {
	return func(scope *model.Scope, in Inputs) *Node {
		outside := in.Xbar.DType()
		for _, x := range []**Node{&in.Xbar, &in.X, &in.Fused} {
			if *x != nil {
				*x = ConvertDType(*x, dtype)
			}
		}
		return ConvertDType(b(scope, in), outside)
	}
}
