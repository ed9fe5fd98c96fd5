package devices

import (
	"fmt"

	"github.com/gomlx/compute/distributed"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/dtensor"
	"github.com/gomlx/gomlx/ml/model"
)

// Program is an executor whose arguments and results may be split over devices.
type Program struct {
	*model.Exec
	n               int
	inputs, outputs []*distributed.ShardingSpec // the last one is that of all others
}

// NewProgram returns exec on the first n devices of its backend; on one device it is exec itself.
// inputs and outputs say which arguments and results are split by their rows, which n must divide.
// The last element is that of all further ones.
func NewProgram(exec *model.Exec, n int, inputs, outputs []bool) (*Program, error) {
	e := &Program{Exec: exec, n: n}
	if n == 1 {
		return e, nil
	}
	if err := Use(exec, n); err != nil {
		return nil, err
	}
	everywhere := exec.DefaultShardingSpec()
	rows, err := distributed.BuildSpec(everywhere.Mesh).S(axis).Done()
	if err != nil {
		return nil, fmt.Errorf("splitting rows: %w", err)
	}
	specs := func(split []bool) (specs []*distributed.ShardingSpec) {
		for _, s := range split {
			specs = append(specs, map[bool]*distributed.ShardingSpec{true: rows, false: everywhere}[s])
		}
		return specs
	}
	e.inputs, e.outputs = specs(inputs), specs(outputs)
	exec.WithInputShardingSpecs(e.inputs...).WithOutputShardingSpecs(e.outputs...)
	return e, nil
}

// Call runs the graph for whole arguments and returns whole results.
func (e *Program) Call(args ...*tensors.Tensor) ([]*tensors.Tensor, error) {
	values := make([]any, len(args))
	for i, x := range args {
		values[i] = x
		if e.n > 1 {
			parts, err := dtensor.ShardTensor(e.inputs[min(i, len(e.inputs)-1)], x)
			if err != nil {
				return nil, fmt.Errorf("argument %d: %w", i, err)
			}
			values[i] = parts
		}
	}
	parts, err := e.Exec.Call(values...)
	if err != nil || e.n == 1 {
		return parts, err
	}
	results := make([]*tensors.Tensor, len(parts)/e.n)
	for i := range results {
		shards := make([]*tensors.Tensor, e.n)
		for d := range shards {
			shards[d] = parts[d*len(results)+i]
		}
		whole, err := dtensor.NewTensor(e.outputs[min(i, len(e.outputs)-1)], shards)
		if err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
		if results[i], err = whole.Merge(); err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
		if err := whole.FinalizeAll(); err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
	}
	return results, nil
}
