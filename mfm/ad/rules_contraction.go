package ad

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// contractionRules of products with sums in them, and of other linear maps.
func contractionRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeConvGeneral: bilinear,
		NodeTypeDotGeneral:  bilinear,
		NodeTypeFFT:         linear(),
	}
}
