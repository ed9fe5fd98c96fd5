package train

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Terms are the values of a loss, scalars. Total is what is minimised; the other two are unweighted mean squares of whitened errors.
type Terms struct {
	Total, Diagonal, Consistency *Node
}
