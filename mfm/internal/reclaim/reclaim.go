// Package reclaim returns the memory of freed tensors to the system while others are still read.
package reclaim

import (
	"runtime/debug"

	"github.com/gomlx/gomlx/core/tensors"
)

// Memory counts bytes that have become garbage, and returns them to the system after each 256 MiB:
// the garbage collector would wait until there is as much garbage as living memory.
type Memory struct{ garbage int64 }

// Free frees a tensor.
func (m *Memory) Free(t *tensors.Tensor) error {
	m.Add(t.Shape().ByteSize())
	return t.FinalizeAll()
}

// Add notes that so many bytes have become garbage.
func (m *Memory) Add(bytes int64) {
	if m.garbage += bytes; m.garbage >= 256<<20 {
		debug.FreeOSMemory()
		m.garbage = 0
	}
}
