package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Counts are numbers of evaluations of the network at one state, or of the reward at one sample: a
// batch counts once for each row. What a parametrization computes around the network is part of the
// evaluation: that of a map with a mixture prior includes the prior's flow, which is 13 denoisers
// in closed form for the six midpoint steps of the digits' prior.
type Counts struct {
	// Network counts evaluations of the map or of a drift, NetworkBackward their backward passes.
	Network         int64 `json:"network"`
	NetworkBackward int64 `json:"network_backward"`
	// Reward counts evaluations of the reward, RewardBackward their backward passes.
	Reward         int64 `json:"reward"`
	RewardBackward int64 `json:"reward_backward"`
}

// NFE returns the number of function evaluations as the paper counts them: a backward pass of the
// network counts twice, the reward once, with or without its gradient. With K steps and N posterior
// samples a sample costs K+4NK by MFM-G, K+2NK by MFM-GF, 4K+1 by DPS, KN+N by Best-of-N, 2N by
// Best-of-N from one-step samples, 3K or 5K by flow-map guidance, and 2MNK by search with M
// particles.
func (c Counts) NFE() int64 { return c.Network + 2*c.NetworkBackward + c.Reward }

// Add returns the sum of two counts.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Network:         c.Network + d.Network,
		NetworkBackward: c.NetworkBackward + d.NetworkBackward,
		Reward:          c.Reward + d.Reward,
		RewardBackward:  c.RewardBackward + d.RewardBackward,
	}
}

// Counter is an NFE counter: it counts evaluations while a graph runs. Like the state of a random
// number generator its counts are a node in the state of a loop, so what is built once and runs a
// thousand times counts a thousand times.
type Counter struct {
	counts *Node // int64 [4], in the order of Counts
}

// NewCounter returns a counter at zero.
func NewCounter(g *Graph) *Counter {
	return &Counter{counts: Zeros(g, shapes.Make(dtypes.Int64, 4))}
}

// Network adds evaluations of the network and backward passes.
func (c *Counter) Network(forward, backward int) { c.add(forward, backward, 0, 0) }

// Reward adds evaluations of the reward and backward passes.
func (c *Counter) Reward(forward, backward int) { c.add(0, 0, forward, backward) }

func (c *Counter) add(n ...int) {
	more := make([]int64, len(n))
	for i, v := range n {
		more[i] = int64(v)
	}
	c.counts = Add(c.counts, Const(c.counts.Graph(), more))
}
