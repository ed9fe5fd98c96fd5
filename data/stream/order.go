package stream

import "math/rand/v2"

// Order is a random order of n samples in batches. In each epoch every sample occurs once, in a new
// order; the next epoch follows without a gap, also within a batch. It is a function of the seed.
// The methods must not be called at the same time.
type Order struct {
	n      int
	seed   uint64
	epochs map[int64]*epoch // of the last batch
}

// epoch is the random part of an epoch.
type epoch struct {
	order []int  // of the samples, by position
	flip  []bool // by sample
}

// place is a position in an epoch.
type place struct {
	epoch    *epoch
	position int
}

// NewOrder returns the order of n samples, at least 1, of a seed.
func NewOrder(n int, seed uint64) *Order { return &Order{n: n, seed: seed} }

// Batch returns the indices of the samples of a step, which counts from 1, and whether each is
// flipped: a coin of the seed, the epoch and the index.
func (o *Order) Batch(step int64, size int) (indices []int, flip []bool) {
	for _, at := range o.batch(step, size) {
		index := at.epoch.order[at.position]
		indices, flip = append(indices, index), append(flip, at.epoch.flip[index])
	}
	return indices, flip
}

// batch returns the places of the samples of a step.
func (o *Order) batch(step int64, size int) []place {
	first, n := (step-1)*int64(size), int64(o.n)
	o.draw(first/n, (first+int64(size)-1)/n)
	places := make([]place, size)
	for i := range places {
		at := first + int64(i)
		places[i] = place{o.epochs[at/n], int(at % n)}
	}
	return places
}

// draw makes the epochs from first to last, each a function of its number and the seed.
func (o *Order) draw(first, last int64) {
	epochs := make(map[int64]*epoch)
	for k := first; k <= last; k++ {
		if epochs[k] = o.epochs[k]; epochs[k] != nil {
			continue
		}
		rng := rand.New(rand.NewPCG(o.seed, uint64(k)))
		e := &epoch{order: rng.Perm(o.n), flip: make([]bool, o.n)}
		for i := range e.flip {
			e.flip[i] = rng.Uint64()>>63 == 1
		}
		epochs[k] = e
	}
	o.epochs = epochs
}
