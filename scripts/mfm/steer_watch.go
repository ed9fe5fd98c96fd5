package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/progress"
)

// poolsFolder returns the folder of the pools of a sweep, empty without a folder for results.
// Shards do not share pools.
func poolsFolder(s sweep.Sweep) string {
	if s.Dir == "" {
		return ""
	}
	return filepath.Join(s.Dir, fmt.Sprintf("pools-%d-of-%d", s.Shard, s.Shards))
}

// watch returns the watch of a setting of a sweep, and what to call at the end of its run. Without
// a folder a run shows its progress and is not kept.
func (c *command) watch(s sweep.Sweep, setting steering.Setting) (w steering.Watch, done func(error), err error) {
	bar := &runBar{w: c.ErrOrStderr(), now: time.Now, began: time.Now()}
	w = steering.Watch{Progress: bar.update, Pools: poolsFolder(s), Every: time.Minute, Unsaved: c.unsaved.Store}
	if s.Dir == "" {
		return w, bar.done, nil
	}
	name, err := sweep.Name(setting)
	w.Path = sweep.PartialPath(s.Dir, name)
	return w, bar.done, err
}

// removePools removes the pools that tasks have used, when their sweep has ended.
func removePools[R any](c *command, tasks map[string]steering.Task[R]) {
	for _, t := range tasks {
		if p, has := t.(interface{ RemovePools() error }); has {
			if err := p.RemovePools(); err != nil {
				c.warn(fmt.Errorf("removing the samples of Best-of-N: %w", err))
			}
		}
	}
}

// runBar shows the progress of one run of a sweep from ten seconds on.
type runBar struct {
	w      io.Writer
	now    func() time.Time
	began  time.Time
	sink   progress.Sink // nil unless it is open
	report progress.Report
}

// update shows that done of n samples are drawn. With all of them the bar ends; the rewards of a
// pool then have one of their own.
func (b *runBar) update(done, n int) {
	b.report.Step, b.report.Total, b.report.Unit = int64(done), int64(n), "sample"
	if b.sink == nil && done < n && b.now().Sub(b.began) > 10*time.Second {
		b.sink = progress.Auto(b.w)
	}
	switch {
	case b.sink == nil:
	case done < n:
		b.sink.Update(b.report)
	default:
		b.done(nil)
	}
}

// done ends the bar, if it is open.
func (b *runBar) done(err error) {
	if b.sink != nil {
		b.report.Elapsed = b.now().Sub(b.began)
		b.sink.Done(b.report, err)
		b.sink = nil
	}
}
