package ad

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// contractionRules returns the rules of products with sums over axes, and of other linear maps.
func contractionRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeConvGeneral: bilinear,
		NodeTypeDotGeneral:  bilinear,
		NodeTypeFFT:         linear(),
	}
}
