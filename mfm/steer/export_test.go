package steer

import "github.com/gomlx/gomlx/core/graph"

// Node returns the counts so far, int64 [4] in the order of [Counts].
func (l *Ledger) Node() *graph.Node { return l.counts }
