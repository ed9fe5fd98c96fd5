package steer

import "github.com/gomlx/gomlx/core/graph"

// Node returns the counts so far, int64 [4] in the order of [Counts].
func (c *Counter) Node() *graph.Node { return c.counts }
