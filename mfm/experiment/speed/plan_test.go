package speed

import (
	"math"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// The numbers of parameters are those of the released networks, and the operations those of a count
// by hand. Both grow linearly with the depth, of which the test builds one and two blocks.
func TestPlanCounts(t *testing.T) {
	b := backendtest.New(t)
	count := func(depth int) (parameters [3]float64, gflop float64) {
		c := PlanConfig{Scale: "paper", Batch: 1}.withNetworks()
		c.dit.Depth, c.dit.Encoder, c.tower.Image.Depth = depth, depth, depth
		g, store, outputs, err := c.build(b)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Finalize()
		defer store.Finalize()
		for i, name := range planScopes {
			parameters[i] = float64(store.Scope("/" + name).NumParameters())
		}
		return parameters, operations(outputs...) / 1e9
	}
	one, gflop := count(1)
	two, more := count(2)
	at := func(i, depth int) float64 { return one[i] + float64(depth-1)*(two[i]-one[i]) }

	// SiT-XL/2 has 675,129,632 elements with the fixed positions of 256 tokens and eight outputs for
	// each latent pixel, four of them for a variance; the map has neither. Its adapter has the
	// embeddings of two more of the four times of encoder and decoder and of the context's, less SiT's
	// own, the patches of the context and the gate of its shift and scale, and two scales of guidance.
	const w, patch = 1152, 4 * 2 * 2
	const embedding = 256*w + w + w*w + w
	const adapter = 4*embedding + patch*w + w + 2*w*(w+1) + 2*w
	if got, want := at(0, 28), 675_129_632.-256*w-patch*(w+1)+adapter; got != want {
		t.Errorf("the map has %.0f parameters, want %.0f", got, want)
	}
	if got, want := one[1], 49_490_179.+20; got != want { // with post_quant_conv; 83,653,863 with the encoder
		t.Errorf("the decoder has %.0f parameters, want %.0f", got, want)
	}
	if got, want := at(2, 32), 632_076_800.; got != want { // OpenCLIP's ViT-H-14
		t.Errorf("the network of the reward has %.0f parameters, want %.0f", got, want)
	}

	// A block of n tokens of width d needs 24 n d² for its products with weights and 4 n² d for
	// attention. The backward pass by the tokens needs as many, and twice those of attention. The
	// recomputation leaves out the last product, 8 n d². The map's block runs for the drift, too.
	block := func(n, d, passes float64) float64 { return passes*(24*n*d*d+4*n*n*d) + 4*n*n*d - 8*n*d*d }
	want := (block(256, 1152, 4) + block(257, 1280, 3)) / 1e9
	if got := more - gflop; math.Abs(got/want-1) > 0.01 {
		t.Errorf("a block of map and reward adds %.2f GFLOP, want %.2f", got, want)
	}
}

// A small step is planned and runs; invalid ones are refused.
func TestPlan(t *testing.T) {
	b := backendtest.New(t)
	if b.Name() != "xla" {
		t.Skip("only XLA reports the memory that it plans")
	}
	r, err := Plan(t.Context(), b, PlanConfig{Scale: "small", Batch: 2}, time.Millisecond, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !(r.TemporaryMB > 1 && r.GFLOP > 0.1 && r.Seconds > 0 && r.MatrixGFLOPS > 0) {
		t.Errorf("%+v", r)
	}
	for _, c := range []PlanConfig{{Scale: "large", Batch: 1}, {Scale: "small"}} {
		if _, err := Plan(t.Context(), b, c, time.Millisecond, time.Now); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
