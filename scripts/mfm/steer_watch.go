package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/progress"
)

// watch returns a function that returns the watch of a setting of a sweep, and what to call at the
// end of its run. Without a folder a run shows its progress and is not kept.
func (c *command) watch(s sweep.Sweep, settings []steering.Setting) (
	func(steering.Setting) (w steering.Watch, done func(error), err error), error) {
	all, err := sweep.Name([]any{settings, s.Shard, s.Shards}) // two sweeps in one folder have pools of their own
	if err != nil {
		return nil, err
	}
	return func(setting steering.Setting) (w steering.Watch, done func(error), err error) {
		bar := &runBar{w: c.ErrOrStderr(), now: time.Now, began: time.Now()}
		w = steering.Watch{Progress: bar.update, Every: time.Minute, Unsaved: c.unsaved.Store}
		if s.Dir == "" {
			return w, bar.done, nil
		}
		name, err := sweep.Name(setting)
		w.Path, w.Pools = sweep.PartialPath(s.Dir, name), filepath.Join(s.Dir, "pools-"+all)
		return w, bar.done, err
	}, nil
}

// removePools removes the pools of tasks whose sweep has ended.
func removePools[R any](c *command, tasks map[string]steering.Task[R]) {
	for _, t := range tasks {
		if p, has := t.(interface {
			ClosePools()
			Watch() steering.Watch
		}); has && p.Watch().Pools != "" {
			p.ClosePools()
			if err := os.RemoveAll(p.Watch().Pools); err != nil {
				c.warn(fmt.Errorf("removing the samples of Best-of-N: %w", err))
			}
		}
	}
}

// runBar shows the progress of one run of a sweep, if it is not done after ten seconds.
type runBar struct {
	w      io.Writer
	now    func() time.Time
	began  time.Time
	sink   progress.Sink // nil before it is open
	report progress.Report
}

// update shows that done of n samples are drawn.
func (b *runBar) update(done, n int) {
	b.report.Step, b.report.Total, b.report.Unit = int64(done), int64(n), "sample"
	if b.sink == nil && done < n && b.now().Sub(b.began) > 10*time.Second {
		b.sink = progress.Auto(b.w)
	}
	if b.sink != nil {
		b.sink.Update(b.report)
	}
}

// done ends the bar.
func (b *runBar) done(err error) {
	if b.sink != nil {
		b.report.Elapsed = b.now().Sub(b.began)
		b.sink.Done(b.report, err)
	}
}
