package gmm

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// PointsWeights returns the posterior probability of each data point given I_t = x, [batch, n]: the
// softmax over i of -|x - β_t y_i|²/(2 α_t²).
func PointsWeights(ip interpolant.Schedule, data, t, x *Node) *Node {
	at := pointsAt(ip, data, t, x)
	return softmax(at.logits())
}

// PointsDenoiser returns D_t(x) = E[I_1 | I_t = x], with x's shape: the mean of the data under
// [PointsWeights].
func PointsDenoiser(ip interpolant.Schedule, data, t, x *Node) *Node {
	at := pointsAt(ip, data, t, x)
	return ReshapeWithShape(at.denoiser(), x.Shape())
}
