package steer

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Counts are evaluations, one for each row of a batch: of the network on one state, or of the reward on one sample.
type Counts struct {
	Network         int64 `json:"network"`          // evaluations of the map or of a drift
	NetworkBackward int64 `json:"network_backward"` // backward passes through it
	Reward          int64 `json:"reward"`           // evaluations of the reward
	RewardBackward  int64 `json:"reward_backward"`  // backward passes through it; part of no NFE
}

// NFE returns the number of function evaluations as the paper counts them: a backward pass of the network is two, a call of the reward is one, with or without its gradient. For K
// steps with N draws they come to K+4NK for MFM-G, K+2NK for MFM-GF, 4K for DPS, KN+N for Best-of-N and 2MNK for the search, for each sample.
func (c Counts) NFE() int64 { return c.Network + 2*c.NetworkBackward + c.Reward }

// Add returns the sum of two counts.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Network + d.Network, c.NetworkBackward + d.NetworkBackward, c.Reward + d.Reward, c.RewardBackward + d.RewardBackward}
}

// Ledger counts evaluations while a graph runs. Its counts are a node that goes with the state of a loop, as the state of a random generator does, so that what is built once and runs a thousand
// times counts a thousand times.
type Ledger struct {
	counts *Node // int64 [4], in the order of Counts
}

// NewLedger returns a ledger at zero.
func NewLedger(g *Graph) *Ledger { return &Ledger{counts: Zeros(g, shapes.Make(dtypes.Int64, 4))} }

// Network counts evaluations of the network, and backward passes, a row each.
func (l *Ledger) Network(forward, backward int) { l.add(forward, backward, 0, 0) }

// Reward counts evaluations of the reward, and backward passes, a row each.
func (l *Ledger) Reward(forward, backward int) { l.add(0, 0, forward, backward) }

func (l *Ledger) add(n ...int) {
	more := make([]int64, len(n))
	for i, v := range n {
		more[i] = int64(v)
	}
	l.counts = Add(l.counts, Const(l.counts.Graph(), more))
}
