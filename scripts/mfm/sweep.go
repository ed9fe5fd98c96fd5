package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// sweepFlags are the flags of a command whose results are kept in a folder.
type sweepFlags struct {
	sweep.Sweep
	c     *command
	shard *string
}

func (c *command) withSweep() *sweepFlags {
	f := &sweepFlags{c: c, shard: c.Flags().String("shard", "", "`i/n`: shard i of n, from 0; only each n-th run")}
	c.Flags().StringVar(&f.Dir, "out", "",
		"`folder` of the results, one file for each run, which is not repeated (required)")
	c.Flags().StringVar(&f.Stored, "stored", "",
		"`file` with the output of mfm steer merge, whose runs are not repeated either")
	f.Done = func(i, n int) { fmt.Fprintf(c.ErrOrStderr(), "%d of %d\n", i, n) }
	return f
}

// parse checks the flags, of which --out may be missing if it is not required.
func (f *sweepFlags) parse(outRequired bool) (err error) {
	if outRequired && f.Dir == "" {
		return fmt.Errorf("--out is missing: name a folder for the results")
	}
	f.c.dir = f.Dir // a stopped sweep resumes there
	f.Shard, f.Shards, err = sweep.ParseShard(*f.shard)
	return cmp.Or(checkFolder(f.Dir), err)
}

// combinations returns all combinations of the values in lists, which are separated by commas. The
// last list varies fastest.
func combinations(lists ...string) [][]string {
	all := [][]string{nil}
	for _, list := range lists {
		var longer [][]string
		for _, head := range all {
			for _, value := range strings.Split(list, ",") {
				longer = append(longer, append(slices.Clone(head), value))
			}
		}
		all = longer
	}
	return all
}

// addSeeds appends a configuration, whose seed is 0, with all seeds to a grid, unless the grid has
// it.
func addSeeds[C any](grid []C, c C, seeds int, set func(c *C, seed int64)) []C {
	if slices.ContainsFunc(grid, func(other C) bool { return reflect.DeepEqual(other, c) }) {
		return grid
	}
	for seed := range seeds {
		set(&c, int64(seed))
		grid = append(grid, c)
	}
	return grid
}

func checkSeeds(n int) error {
	if n < 1 || n > 10_000 {
		return fmt.Errorf("--seeds = %d: must be positive and at most 10000", n)
	}
	return nil
}

// withReward adds the flag that names a reward.
func (c *command) withReward() *string {
	return c.Flags().String("reward", "paper",
		"`name`: paper or, for images, class:K; or a JSON object, or a file with one: see mfm info")
}

// rewardJSON returns a reward as JSON: the text itself if it is an object, or the content of the
// file that it names.
func rewardJSON(text string) (json.RawMessage, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return json.RawMessage(text), nil
	}
	raw, err := config.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("reward %q is no name of a reward, no JSON object, and no file: %w", text, err)
	}
	return raw, nil
}

// steerMerge merges results of any kind and prints them, one a line.
func steerMerge(c *command) prepare {
	from := c.Flags().String("from", "",
		"`folders` of results, or files with the output of this command, separated by commas (required)")
	return func() (work, error) {
		if err := c.require("name the folders of the results", "from"); err != nil {
			return nil, err
		}
		results, err := sweep.Merge(strings.Split(*from, ",")...)
		return func(context.Context, compute.Backend) error {
			_, err := c.OutOrStdout().Write(sweep.Join(results))
			return err
		}, err
	}
}
