package alignment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// counted replaces a reward by one that adds the number of its pictures to n.
func counted(of *pictureReward, n *int) *pictureReward {
	return &pictureReward{shape: of.shape, host: func(pixels []float32, shape []int) ([]float64, error) {
		*n += shape[0]
		return of.values(context.Background(), pixels, slices.Repeat([]int32{2}, shape[0]))
	}}
}

// Best-of-N has the best of N candidates for each sample, of one pool for all N, for pools and for
// rewards. The held-out reward evaluates the chosen ones alone.
func TestBestOfN(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "symmetry"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	rewarded, heldOut := 0, 0
	original := s.pictures
	s.pictures, s.heldOut = counted(s.pictures, &rewarded), counted(s.heldOut, &heldOut)
	var results []Result
	for i, n := range []int{1, 4, 4} {
		r, err := s.Run(t.Context(), b, settings(s, bestOfN, n, 1))
		if err != nil {
			t.Fatal(err)
		}
		if r.MapNFE != float64(n*steps) || r.RewardNFE != float64(n) || r.Reused != (i > 0) || !(r.Seconds > 0) {
			t.Errorf("Best-of-%d: %g evaluations of the map, %g of the reward, reused: %t", n, r.MapNFE, r.RewardNFE, r.Reused)
		}
		results = append(results, r)
	}
	if results[1].Seconds != results[2].Seconds || !(results[0].Seconds < results[1].Seconds) {
		t.Errorf("seconds %g of one candidate, %g of four, %g again", results[0].Seconds, results[1].Seconds,
			results[2].Seconds)
	}
	// 128 candidates, 32 unsteered pictures to compare with, and 32 chosen ones in each run.
	if rewarded != 128+32+3*32 || heldOut != 32+3*32 {
		t.Errorf("%d pictures have a reward and %d a held-out one", rewarded, heldOut)
	}
	p := onePool(t, m, 4)
	s.pictures = original
	block := func(k int) []float64 {
		t.Helper()
		latents, err := p.samples(32*k, 32*(k+1))
		if err != nil {
			t.Fatal(err)
		}
		return values(t, s, latents)
	}
	best := block(0)
	if got := mean(best); math.Abs(got-results[0].Reward.Float()) > 1e-5 {
		t.Errorf("Best-of-1 has the reward %g, the first candidates %g", results[0].Reward.Float(), got)
	}
	all := slices.Clone(best)
	for k := range 3 {
		for i, v := range block(k + 1) {
			best[i], all = max(best[i], v), append(all, v)
		}
	}
	if got := mean(best); math.Abs(got-results[1].Reward.Float()) > 1e-5 || !(got > results[0].Reward.Float()) {
		t.Errorf("Best-of-4 has the reward %g, the best candidates %g, all %g", results[1].Reward.Float(), got,
			results[0].Reward.Float())
	}
	c := settings(s, steering.Unsteered, 1, 1)
	c.Pool, c.Samples = true, 100
	for range 2 {
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Sorted(slices.Values(all[:100]))
		for i, v := range r.PoolRewards {
			if len(r.PoolRewards) != 100 || math.Abs(float64(v)-want[i]) > 1e-5 || !r.Reused || !r.HeldOut.IsZero() {
				t.Fatalf("reward %d of a pool is %g, want %g: %+v", i, v, want[i], r)
			}
		}
	}
	onePool(t, m, 4)
	noisy := settings(s, bestOfN, 1, 1)
	noisy.Config.Dynamics, noisy.Config.Noise = steer.SDE, 0.5
	for _, c := range []steering.Setting{settings(s, bestOfN, 1, 1), noisy} {
		p, _, _, err := s.poolOf(t.Context(), b, c, 32)
		if err != nil {
			t.Fatal(err)
		}
		first, err := p.samples(0, 32)
		if err != nil {
			t.Fatal(err)
		}
		c.Method = steering.Unsteered
		direct, _, err := s.Draw(t.Context(), b, c, nil, nil)
		if err != nil || !slices.Equal(direct, first) {
			t.Errorf("%s: the first candidates are not the unsteered samples of the seed (%v)", c.Config.Dynamics, err)
		}
	}
}

// list returns the paths of the files in a folder, none if there is no folder.
func list(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths, err
}

// A pool that is interrupted between two blocks grows on in its folder, for a model that is opened
// again, and keeps its rewards. The result is that of a whole pool. Another process must wait, and
// damaged files, or those of another device, are errors that name them. In the end the files are
// removed, and the folder.
func TestPoolResumes(t *testing.T) {
	b, dir := backendtest.New(t), filepath.Join(t.TempDir(), "pools [1]") // no pattern
	open := func(w steering.Watch, rewarded *int) *Steering {
		t.Helper()
		m := gaussianModel(t)
		t.Cleanup(m.Finalize)
		s, err := m.To(b, []byte(`{"kind": "symmetry"}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Follow(w)
		s.pictures = counted(s.pictures, rewarded)
		return s
	}
	var rewarded, ignored int
	setting := func(s *Steering) steering.Setting {
		c := settings(s, bestOfN, 4, 1)
		c.Seed = 1 // without pictures
		return c
	}
	whole := open(steering.Watch{}, &ignored)
	want, err := whole.Run(t.Context(), b, setting(whole))
	if err != nil {
		t.Fatal(err)
	}
	// Of four blocks two are drawn, then the others, and two get rewards. The last run completes them.
	for _, c := range []struct {
		cancel   int // at this report, after drawing blocks or evaluating them
		done     []int
		rewarded int
	}{
		{3, []int{0, 32, 64}, 0},
		{6, []int{64, 96, 128, 0, 32, 64}, 64},
		{0, []int{64, 96, 128}, 64 + 32 + 32}, // with those to compare with, and the chosen ones
	} {
		ctx, cancel := context.WithCancel(t.Context())
		rewarded = 0
		var done []int
		s := open(steering.Watch{Pools: dir, Progress: func(k, n int) {
			if done = append(done, k); len(done) == c.cancel || n != 128 {
				cancel()
			}
		}}, &rewarded)
		got, err := s.Run(ctx, b, setting(s))
		if !slices.Equal(done, c.done) || rewarded != c.rewarded || errors.Is(err, context.Canceled) != (c.cancel > 0) {
			t.Errorf("reports %v, want %v; %d pictures have a reward, want %d (%v)", done, c.done, rewarded, c.rewarded, err)
		}
		if c.cancel == 0 {
			got.Seconds, got.MicrosPerNFE = want.Seconds, want.MicrosPerNFE
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the resumed run has the result %+v (%v), want %+v", got, err, want)
			}
		}
		cancel()
		other := open(steering.Watch{Pools: dir}, &ignored)
		if _, err := other.Run(t.Context(), b, setting(other)); !errors.Is(err, checkpoint.ErrLocked) {
			t.Errorf("a pool of another process: error %v", err)
		}
		s.model.Finalize()
	}
	s := open(steering.Watch{Pools: dir}, &ignored)
	c := setting(s)
	block := unsteered(c)
	block.Seed, block.Samples = c.Seed, min(c.Samples, mostInBlock)
	if _, err := s.openPool(block, "other"); err == nil || !strings.Contains(err.Error(), "this is other") {
		t.Errorf("a pool of another device: error %v", err)
	}
	files, err := list(dir)
	if err != nil || len(files) != 4 {
		t.Fatalf("files %v, want samples, their state, their rewards and a lock (%v)", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".lock") {
			continue
		}
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, content[:len(content)/2], 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := open(steering.Watch{Pools: dir}, &ignored)
		if _, err := s.Run(t.Context(), b, setting(s)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("half of %s: error %v", file, err)
		}
		s.model.Finalize()
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s = open(steering.Watch{Pools: dir}, &ignored)
	if _, err := s.Run(t.Context(), b, setting(s)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "pool-other.f32")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if err := s.RemovePools(); err != nil {
			t.Fatal(err)
		}
		if files, err := list(dir); err != nil || len(files) != want {
			t.Errorf("files %v, want %d (%v)", files, want, err)
		}
		_ = os.Remove(other)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the pools is left (%v)", err)
	}
}

// onePool returns the only pool of a model, which has the given number of blocks.
func onePool(t *testing.T, m *Model, blocks int) (p *pool) {
	t.Helper()
	for _, p = range m.pools {
	}
	if len(m.pools) != 1 || len(p.Seconds) != blocks {
		t.Fatalf("%d pools, the last of %d blocks, want one of %d", len(m.pools), len(p.Seconds), blocks)
	}
	return p
}

// The seconds of samples are those of their blocks, whatever other blocks there are.
func TestShareOfSeconds(t *testing.T) {
	p := &pool{block: steering.Setting{Samples: 32}}
	for n, want := range map[int]float64{0: 0, 8: 2, 32: 8, 48: 9, 96: 14} {
		if got := p.share([]float64{8, 2, 4, 100}, n); got != want {
			t.Errorf("%d samples took %g seconds, want %g", n, got, want)
		}
	}
}

// Weights are read once for all rewards that use them, and an evaluator that is a network of the
// reward is one that the result warns of.
func TestNetworksOfRewards(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	clip := filepath.Join("..", "..", "..", "reward", "text", "testdata", "transformers")
	words := filepath.Join("..", "..", "..", "nn", "clip", "bpe", "testdata", "tiny_vocabulary.txt")
	cat := fmt.Appendf(nil, `{"kind": "clip_relevance", "prompt": "a cat", "weights": %q, "vocabulary": %q}`, clip, words)
	sum := fmt.Appendf(nil, `{"kind": "sum", "of": [{"kind": "symmetry"}, %s]}`, cat)
	hash, err := hashFile(clip)
	if err != nil {
		t.Fatal(err)
	}
	m.evaluators = append(m.evaluators, evaluator{m.evaluators[0].Evaluator, hash})
	var steerings []*Steering
	variables := 0
	for i, pair := range [][2][]byte{
		{[]byte(`{"kind": "symmetry"}`), cat}, {DefaultReward(), cat}, {cat, nil}, {sum, DefaultReward()},
	} {
		s, err := m.To(b, pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		steerings = append(steerings, s)
		n := 0
		for range m.Store().IterVariables() {
			n++
		}
		if i == 0 {
			variables = n
		}
		if i < 3 && n != variables {
			t.Errorf("reward %d: %d variables, want %d", i, n, variables)
		}
	}
	if a := steerings[0].heldOut; a != steerings[1].heldOut || a != steerings[2].pictures {
		t.Error("a reward is read twice")
	}
	for i, want := range []bool{false, false, true, true} {
		s := steerings[i]
		c := settings(s, steering.Unsteered, 1, 1)
		c.Seed = 1 // without pictures
		r, err := s.Run(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		warned := strings.Contains(fmt.Sprint(r.Warnings), "the second evaluator is a network of the reward")
		if r.InReward || r.Second == nil || r.Second.InReward != want || warned != want {
			t.Errorf("reward %d: comparisons %+v, %+v, warnings %q, want %t", i, r.Comparison, r.Second, r.Warnings, want)
		}
		if second := *r.Second; second.Frechet != r.Frechet || second.Kernel != r.Kernel || r.Frechet == (metric.Optional{}) {
			t.Errorf("reward %d: comparisons %+v, %+v by one network", i, r.Comparison, second)
		}
	}
	m.evaluators = m.evaluators[:1]
}

// A black-box reward of pictures ends with the context of the run.
func TestBlackBoxEndsWithItsContext(t *testing.T) {
	b, m := backendtest.New(t), gaussianModel(t)
	s, err := m.To(b, []byte(`{"kind": "compressibility", "quality": 90}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	calls := 0
	var host error
	s.Host = s.onLatents(func(_ []float32, shape []int) ([]float64, error) {
		calls++
		end()
		_, host = s.onLatents(nil)(make([]float32, 12), []int{1, 2, 3, 2})
		return make([]float64, shape[0]), nil
	})
	c := settings(s, "mfm-gf", 2, 1)
	if _, err := s.Run(ctx, b, c); !errors.Is(err, context.Canceled) || !errors.Is(host, context.Canceled) || calls != 1 {
		t.Errorf("%d calls after the end, decoding %v, the run %v", calls, host, err)
	}
}
