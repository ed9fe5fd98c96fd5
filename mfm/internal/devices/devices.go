// Package devices runs a compiled step on several devices of a backend, data parallel: GoMLX's
// automatic sharding (XLA's Shardy) splits the rows of the batches over the devices and replicates
// everything else, such as weights and the state of the random number generator.
//
// The program is the one for a single device. All devices draw the random numbers of the whole
// batch, and each keeps its rows, so that noise does not depend on the number of devices.
package devices

import (
	"fmt"

	"github.com/gomlx/compute/distributed"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// axis is the name of the mesh's only axis.
const axis = "rows"

// split is what a graph on several devices knows of them.
type split struct {
	mesh  *distributed.DeviceMesh
	zeros *Node // float32 [devices], one element per device
}

// key is the key of a graph's split.
type key struct{}

// Use compiles the graphs of exec for the first n > 1 devices of its backend, with results and
// updated variables on each of them. Each graph must call [Begin].
func Use(exec *model.Exec, n int) error {
	everywhere := exec.DefaultShardingSpec() // that of other executors of the store
	if everywhere == nil || everywhere.Mesh.NumDevices() != n {
		mesh, err := distributed.NewDeviceMesh([]int{n}, []string{axis})
		if err != nil {
			return fmt.Errorf("a mesh of %d devices: %w", n, err)
		}
		everywhere = distributed.NewReplicatedShardingSpec(mesh)
	}
	exec.AutoSharding(everywhere.Mesh).WithOutputShardingSpecs(everywhere)
	// GoMLX (v0.28) dereferences nil for the state of a seeded store, which has no specification.
	for v := range exec.Store().IterVariables() {
		if v.ShardingSpec() != nil {
			continue
		}
		if err := v.SetShardingSpec(everywhere); err != nil {
			return fmt.Errorf("replicating %s: %w", v.Path(), err)
		}
	}
	return nil
}

// Begin prepares a graph for [Rows] and [Variable]. name is the path of a variable that it creates
// in the store. It does nothing on one device.
func Begin(store *model.Store, g *Graph, name string) {
	if g.DistributedStrategy() != distributed.AutoSharding {
		return
	}
	s := &split{mesh: g.DeviceMeshes()[0]}
	v := store.VariableWithValue(name, make([]float32, s.mesh.NumDevices())).SetTrainable(false)
	s.shard(v)
	s.zeros = v.NodeValue(g)
	g.AttachState(key{}, s)
}

// Rows returns x, [rows, ...], with its rows split over the devices of a graph that called [Begin].
// It returns x itself on one device, and if the number of devices does not divide that of the rows.
func Rows(x *Node) *Node {
	s := of(x.Graph())
	if s == nil || x.Rank() == 0 || x.Shape().Dim(0)%s.mesh.NumDevices() != 0 {
		return x
	}
	// GoMLX can shard parameters alone, from which XLA infers the rest: so x + 0 is split as the
	// zeros are, one row of which belongs to each device.
	n, rows := s.mesh.NumDevices(), x.Shape().Dim(0)
	column := make([]int, x.Rank())
	for i := range column {
		column[i] = 1
	}
	column[0] = rows
	zeros := BroadcastToDims(InsertAxes(ConvertDType(s.zeros, x.DType()), -1), n, rows/n)
	return Add(x, Reshape(zeros, column...))
}

// Variable splits the rows of a variable's value, [rows, ...], over the devices of g. It must be
// called before g uses the variable.
func Variable(v *model.Variable, g *Graph) {
	if s := of(g); s != nil {
		s.shard(v)
	}
}

func of(g *Graph) *split {
	s, _ := g.State(key{}).(*split)
	return s
}

func (s *split) shard(v *model.Variable) {
	if spec := v.ShardingSpec(); spec != nil && !spec.IsReplicated() {
		return // of another graph
	}
	spec := distributed.BuildSpec(s.mesh).S(axis)
	for range v.Shape().Rank() - 1 {
		spec.R()
	}
	built, err := spec.Done()
	if err != nil {
		panic(err)
	}
	v.WithShardingSpec(built)
}
