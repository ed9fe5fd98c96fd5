package alignment

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// bestOfN is the method that chooses from a pool.
const bestOfN = "best-of-n"

// mostInBlock is the largest number of samples in a block of a pool.
const mostInBlock = 32

// pool is a sequence of unsteered samples of a setting, which grows as runs need them. All rewards
// evaluate, and all numbers of candidates choose from, the same samples. Those of the first block
// have the noise of the seed. They lie in a file, so that the memory has their rewards alone.
type pool struct {
	poolState
	block    steering.Setting // of a block; its seed is that of the pool
	elements int              // of a sample
	file     *os.File
	lock     *flock.Flock
	path     string // of its files, without their extensions; empty for a temporary file
}

// poolState is what a pool has beside its samples.
type poolState struct {
	Device   string       // see [steering.Device]
	By       string       // hash of the setting of the run that began it
	Counts   steer.Counts // of a block
	Seconds  []float64    // of each block, with compiling or loading the graph
	Diverged []bool       // whether a block has samples that are not finite
}

// poolOf returns the pool of a setting, with its name, that has at least n samples. reused reports
// that another run has begun it.
func (s *Steering) poolOf(ctx context.Context, b compute.Backend, c steering.Setting, n int) (
	p *pool, name string, reused bool, err error) {
	block := unsteered(c)
	block.Seed, block.Samples = c.Seed, min(c.Samples, mostInBlock)
	if name, err = sweep.Name(block); err != nil {
		return nil, "", false, err
	}
	by, err := sweep.Name(c)
	if err != nil {
		return nil, "", false, err
	}
	p = s.model.pools[name]
	if p == nil {
		if p, err = s.openPool(block, steering.Device(b)); err != nil {
			return nil, "", false, fmt.Errorf("pool of unsteered samples: %w", err)
		}
		s.model.pools[name] = p
	}
	of := s.plain()
	of.Kept = &s.model.drawing
	if done := len(p.Seconds) * block.Samples; done < n {
		s.report(done, n)
	}
	for k := len(p.Seconds); k*block.Samples < n; k++ {
		if k > 0 {
			block.Seed = 1<<41 + c.Seed<<16 + int64(k)
		}
		began := time.Now()
		latents, got, err := of.Draw(ctx, b, block, nil, nil)
		if err != nil {
			return nil, "", false, fmt.Errorf("unsteered samples: %w", err)
		}
		raw, err := binary.Append(nil, binary.LittleEndian, latents)
		if err == nil {
			_, err = p.file.WriteAt(raw, int64(k*len(raw)))
		}
		if err == nil {
			p.Counts, p.Diverged = got.Counts, append(p.Diverged, !stats.Finite(latents))
			p.By, p.Seconds = cmp.Or(p.By, by), append(p.Seconds, time.Since(began).Seconds())
			err = p.write(".gob", p.poolState)
		}
		if err != nil {
			return nil, "", false, fmt.Errorf("keeping unsteered samples: %w", err)
		}
		s.report((k+1)*block.Samples, n)
	}
	return p, name, p.By != by, nil
}

// report shows that done of n samples of a pool are drawn, or have a reward.
func (s *Steering) report(done, n int) {
	if progress := s.Watch().Progress; progress != nil {
		progress(min(done, n), n)
	}
}

// samples returns those from one index to another.
func (p *pool) samples(from, to int) ([]float32, error) {
	latents := make([]float32, (to-from)*p.elements)
	section := io.NewSectionReader(p.file, int64(from*p.elements)*4, int64(len(latents))*4)
	if err := binary.Read(section, binary.LittleEndian, latents); err != nil {
		return nil, fmt.Errorf("reading unsteered samples: %w", err)
	}
	return latents, nil
}

// countsOf returns the evaluations for n samples.
func (p *pool) countsOf(n int) steer.Counts {
	return steer.Counts{Network: p.Counts.Network / int64(p.block.Samples) * int64(n)}
}

// share returns the seconds of n samples, given those of each block.
func (p *pool) share(blocks []float64, n int) float64 {
	whole, rest := n/p.block.Samples, n%p.block.Samples
	seconds := floats.Sum(blocks[:whole])
	if rest > 0 {
		seconds += blocks[whole] * float64(rest) / float64(p.block.Samples)
	}
	return seconds
}

// scores are the rewards of the samples of a pool.
type scores struct {
	Values  []float64
	Seconds []float64 // of each block
}

// score returns the rewards of at least n samples of a pool, which has as many.
func (s *Steering) score(ctx context.Context, p *pool, name string, n int) (_ *scores, err error) {
	extension, all := "-"+s.Fingerprint+".gob", s.scores[name]
	if all == nil {
		all = new(scores)
		if err := p.read(extension, all); err != nil {
			return nil, err
		}
		if len(all.Values) != len(all.Seconds)*p.block.Samples || len(all.Seconds) > len(p.Seconds) {
			return nil, fmt.Errorf("%s%s: %d rewards of %d blocks of samples: delete the file to evaluate them again",
				p.path, extension, len(all.Values), len(p.Seconds))
		}
		s.scores[name] = all
	}
	written, onDisk := time.Now(), len(all.Values)
	defer func() {
		if len(all.Values) > onDisk {
			err = errors.Join(err, p.write(extension, all))
		}
		s.Watch().SetUnsaved(false)
	}()
	if onDisk < n {
		s.report(onDisk, n)
	}
	for len(all.Values) < n {
		began := time.Now()
		latents, err := p.samples(len(all.Values), len(all.Values)+p.block.Samples)
		if err != nil {
			return nil, err
		}
		pixels, err := s.model.decoder.decode(ctx, latents)
		if err != nil {
			return nil, err
		}
		values, err := s.pictures.values(ctx, pixels, s.Labels(p.block))
		if err != nil {
			return nil, err
		}
		all.Values = append(all.Values, values...)
		all.Seconds = append(all.Seconds, time.Since(began).Seconds())
		s.Watch().SetUnsaved(p.path != "")
		if time.Since(written) >= s.Watch().Every {
			if err := p.write(extension, all); err != nil {
				return nil, err
			}
			s.Watch().SetUnsaved(false)
			written, onDisk = time.Now(), len(all.Values)
		}
		s.report(len(all.Values), n)
	}
	return all, nil
}

// drawn are samples with the result that all tasks have.
type drawn struct {
	result  steering.Result
	latents []float32
	first   []float32 // pictures of the first candidates of Best-of-N, else nil
	counts  steer.Counts
	speed   metric.Optional // see [Monitors]
}

// bestOf draws Best-of-N from a pool in batches of any size: the methods of package steer evaluate
// all candidates of a sample at a time, for which the decoder may lack the memory. The candidates
// of sample i of n are the samples i, n+i, 2n+i and so on of the pool.
func (s *Steering) bestOf(ctx context.Context, b compute.Backend, c steering.Setting) (d drawn, err error) {
	all := c.N * c.Samples
	p, name, reused, err := s.poolOf(ctx, b, c, all)
	if err != nil {
		return d, err
	}
	scored, err := s.score(ctx, p, name, all)
	if err != nil {
		return d, err
	}
	for i := range c.Samples {
		best, most := 0, 0.
		for k := i; k < all; k += c.Samples {
			value := c.Config.Lambda * scored.Values[k]
			if scored.Values[k] < reward.Least {
				value = scored.Values[k]
			}
			if k == i || value > most {
				best, most = k, value
			}
		}
		chosen, err := p.samples(best, best+1)
		if err != nil {
			return d, err
		}
		d.latents = append(d.latents, chosen...)
	}
	first, err := p.samples(0, min(shownPictures, c.Samples))
	if err != nil {
		return d, err
	}
	if d.first, err = s.model.decoder.decode(ctx, first); err != nil {
		return d, err
	}
	d.counts = p.countsOf(all)
	d.counts.Reward = int64(all)
	s.finish(b, c, &d, reused, p.share(p.Seconds, all)+p.share(scored.Seconds, all))
	return d, nil
}

// drawUnsteered draws the samples of a setting of the unsteered method.
func (s *Steering) drawUnsteered(ctx context.Context, b compute.Backend, c steering.Setting) (d drawn, err error) {
	p, _, reused, err := s.poolOf(ctx, b, c, c.Samples)
	if err != nil {
		return d, err
	}
	if d.latents, err = p.samples(0, c.Samples); err != nil {
		return d, err
	}
	d.counts = p.countsOf(c.Samples)
	s.finish(b, c, &d, reused, p.share(p.Seconds, c.Samples))
	return d, nil
}

// drawPool returns the result of a setting with Pool, without its latents, and the rewards.
func (s *Steering) drawPool(ctx context.Context, b compute.Backend, c steering.Setting) (d drawn, rewards []float64,
	err error) {
	p, name, reused, err := s.poolOf(ctx, b, c, c.Samples)
	if err != nil {
		return d, nil, err
	}
	d.counts = p.countsOf(c.Samples)
	s.finish(b, c, &d, reused, p.share(p.Seconds, c.Samples))
	blocks := (c.Samples + p.block.Samples - 1) / p.block.Samples
	if d.result.Diverged = slices.Contains(p.Diverged[:blocks], true); d.result.Diverged {
		return d, nil, nil
	}
	scored, err := s.score(ctx, p, name, c.Samples)
	if err != nil {
		return d, nil, err
	}
	return d, scored.Values[:c.Samples], nil
}

// finish fills in the result of samples from a pool.
func (s *Steering) finish(b compute.Backend, c steering.Setting, d *drawn, reused bool, seconds float64) {
	r := s.Common(b, c)
	r.NFE = float64(d.counts.NFE()) / float64(c.Samples)
	r.Seconds, r.Reused = seconds, reused
	r.MicrosPerNFE = 1e6 * r.Seconds / float64(d.counts.NFE())
	r.Diverged = !stats.Finite(d.latents)
	d.result = r
}

// plain returns the base without a reward, for unsteered samples.
func (s *Steering) plain() steering.Base {
	of := s.Base
	of.Reward, of.Host, of.Kept = reward.Sum(), nil, &s.model.kept
	return of
}
