package alignment

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// bestOfN is the method that chooses from a pool.
const bestOfN = "best-of-n"

// pool has unsteered samples in blocks, each with one candidate for each sample of Best-of-N. All
// numbers of candidates and all rewards choose from the same pool, which grows as they need.
type pool struct {
	steerer *steer.Steerer
	blocks  [][]float32
	counts  steer.Counts // of a block
	seconds float64      // of all blocks, compilation included
}

// poolOf returns the pool of a setting with n blocks.
func (s *Steering) poolOf(ctx context.Context, b compute.Backend, c steering.Setting, n int) (*pool, string, error) {
	setting := unsteered(c)
	setting.Seed = c.Seed
	name, err := sweep.Name(setting)
	if err != nil {
		return nil, "", err
	}
	p := s.model.pools[name]
	began := time.Now()
	if p == nil {
		m, err := s.DrawModel(setting)
		if err != nil {
			return nil, "", err
		}
		method, err := setting.SteerMethod(nil)
		if err != nil {
			return nil, "", err
		}
		p = new(pool)
		if p.steerer, err = steer.New(b, m, reward.Sum(), method); err != nil {
			return nil, "", err
		}
		p.steerer.Batch = s.Batch
		if c.Class != nil {
			if err := p.steerer.SetClass(*c.Class); err != nil {
				return nil, "", err
			}
		}
		s.model.pools[name] = p
	}
	for len(p.blocks) < n {
		seed := c.Seed // of the first block, so that its noise is that of other methods
		if k := len(p.blocks); k > 0 {
			seed = 1<<41 + c.Seed<<16 + int64(k)
		}
		got, err := p.steerer.Sample(ctx, seed, c.Samples, nil)
		if err != nil {
			return nil, "", fmt.Errorf("candidates: %w", err)
		}
		p.blocks, p.counts = append(p.blocks, got.Samples), got.Counts
	}
	p.seconds += time.Since(began).Seconds()
	return p, name, nil
}

// bestOf draws Best-of-N from a pool in batches of any size: the methods of package steer evaluate all
// candidates of a sample at a time, for which the decoder may lack the memory. It returns the result
// that all tasks have, the latents, the pictures of the first candidates, and the numbers of
// evaluations. Seconds are those of the pool's first N blocks, in proportion, and of the rewards of new
// candidates.
func (s *Steering) bestOf(ctx context.Context, b compute.Backend, c steering.Setting) (
	r steering.Result, latents, first []float32, counts steer.Counts, err error) {
	p, name, err := s.poolOf(ctx, b, c, c.N)
	if err != nil {
		return r, nil, nil, counts, err
	}
	began, known := time.Now(), len(s.pool[name])
	for _, block := range p.blocks[min(known, c.N):c.N] {
		values, _, err := s.evaluate(ctx, block, s.Labels(c), false)
		if err != nil {
			return r, nil, nil, counts, err
		}
		s.pool[name] = append(s.pool[name], values.reward)
	}
	size := s.model.Elements()
	for i := range c.Samples {
		best, most := 0, 0.
		for k, rewards := range s.pool[name][:c.N] {
			value := c.Config.Lambda * rewards[i]
			if rewards[i] < reward.Least {
				value = rewards[i]
			}
			if k == 0 || value > most {
				best, most = k, value
			}
		}
		latents = append(latents, p.blocks[best][i*size:(i+1)*size]...)
	}
	shown := min(shownPictures, c.Samples) * size
	if first, err = s.model.decoder.decode(ctx, p.blocks[0][:shown]); err != nil {
		return r, nil, nil, counts, err
	}
	n := int64(c.N)
	counts = steer.Counts{Network: n * p.counts.Network, Reward: n * int64(c.Samples)}
	r = s.Common(b, c)
	r.NFE = float64(counts.NFE()) / float64(c.Samples)
	r.Seconds = p.seconds*float64(c.N)/float64(len(p.blocks)) + time.Since(began).Seconds()
	r.MicrosPerNFE = 1e6 * r.Seconds / float64(counts.NFE())
	r.Diverged = !stats.Finite(latents)
	return r, slices.Clip(latents), first, counts, nil
}

// drawn are unsteered samples with the result of drawing them.
type drawn struct {
	result  steering.Result
	latents []float32
	counts  steer.Counts
}

// plain returns the base without a reward, for unsteered samples.
func (s *Steering) plain() steering.Base {
	of := s.Base
	of.Reward, of.Host, of.Kept = reward.Sum(), nil, &s.model.kept
	return of
}

// drawUnsteered draws the samples of a setting of the unsteered method, once for all rewards.
func (s *Steering) drawUnsteered(ctx context.Context, b compute.Backend, c steering.Setting) (
	steering.Result, []float32, steer.Counts, error) {
	key := c
	key.Fingerprint, key.Pool, key.Config.Lambda = "", false, 1
	name, err := sweep.Name(key)
	if err != nil {
		return steering.Result{}, nil, steer.Counts{}, err
	}
	d := s.model.drawn[name]
	if d == nil {
		of := s.plain()
		r, latents, got, err := of.Run(ctx, b, key, nil, nil)
		if err != nil {
			return r, nil, steer.Counts{}, err
		}
		d = &drawn{r, latents, got.Counts}
		s.model.drawn[name] = d
	}
	r := d.result
	r.RewardName, r.RunSettings = s.RewardName, s.Common(b, c).RunSettings
	return r, d.latents, d.counts, nil
}
