// Package sweep runs grids of settings and keeps each result in a file of its own, so that an
// interrupted sweep resumes, and processes on several machines can share one.
//
// A setting is any value with a JSON form; the hash of that form ([Name]) is the name of its
// result. [Run] runs a sweep, [Merge] and [Write] collect the results of several folders in one
// file, and [Read] reads them from it. [Complete] runs what such a file lacks.
package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// Sweep says where the results of a sweep are kept and which part of it this process runs.
type Sweep struct {
	// Dir is the folder of the results.
	Dir string
	// Shard is the index of this process among Shards, from 0: it runs each setting whose index
	// leaves Shard when divided by Shards. Shards of 0 or 1 means all settings.
	Shard, Shards int
	// Stored is a file that [Write] wrote. Settings with a result in it are not run again. Empty
	// means none.
	Stored string
	// Done is called after each setting with its number, from 1, and the number of all settings,
	// whether the setting was run or its result existed. Nil means no callback.
	Done func(i, n int)
}

// ParseShard parses "i/n" as shard i of n, with i from 0 to n-1. The empty string means all: shard
// 0 of 1.
func ParseShard(s string) (shard, shards int, err error) {
	if s == "" {
		return 0, 1, nil
	}
	var rest string
	if n, _ := fmt.Sscanf(s+" ", "%d/%d%s", &shard, &shards, &rest); n != 2 || shards < 1 || shard < 0 ||
		shard >= shards {
		return 0, 0, fmt.Errorf("shard %q: give i/n with i from 0 to n-1, such as 0/4", s)
	}
	return shard, shards, nil
}

// record is the content of a result's file: the setting and its result.
type record[S, R any] struct {
	Setting S `json:"setting"`
	Result  R `json:"result"`
}

// Name returns the hash of a setting's JSON, 16 hexadecimal digits, under which [Run] keeps its
// result.
func Name(setting any) (string, error) {
	raw, err := json.Marshal(setting)
	if err != nil {
		return "", fmt.Errorf("sweep: encoding a setting: %w", err)
	}
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%x", sum[:8]), nil
}

// Names returns the set of the hashes of settings.
func Names[S any](settings []S) (map[string]bool, error) {
	names := make(map[string]bool)
	for _, s := range settings {
		name, err := Name(s)
		if err != nil {
			return nil, err
		}
		names[name] = true
	}
	return names, nil
}

// Run calls do for each setting of this shard that has no result yet. It returns all results that
// exist then, in the order of the settings. It stops at the first error of do, at a result that
// cannot be read or written, and before the next setting when ctx ends; then it returns the results
// so far with the error.
func Run[S, R any](ctx context.Context, s Sweep, settings []S, do func(context.Context, S) (R, error)) ([]R, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	stored := make(map[string]json.RawMessage)
	if s.Stored != "" {
		if err := readStored(s.Stored, stored); err != nil {
			return nil, err
		}
	}
	var results []R
	for i, setting := range settings {
		name, err := Name(setting)
		if err != nil {
			return results, err
		}
		path := filepath.Join(s.Dir, prefix+name+".json")
		var r record[S, R]
		switch err := readRecord(path, &r); {
		case err == nil:
		case !errors.Is(err, os.ErrNotExist):
			return results, err
		case stored[name] != nil:
			if err := json.Unmarshal(stored[name], &r.Result); err != nil {
				return results, fmt.Errorf("sweep: %s: result %s: %w", s.Stored, name, err)
			}
		case s.Shards > 1 && i%s.Shards != s.Shard:
			continue
		case ctx.Err() != nil:
			return results, fmt.Errorf("stopped after %d of %d runs: %w", i, len(settings), context.Cause(ctx))
		default:
			result, err := do(ctx, setting)
			if err != nil {
				return results, fmt.Errorf("run %d of %d: %w", i+1, len(settings), err)
			}
			r = record[S, R]{setting, result}
			if err := run.WriteJSON(path, r); err != nil {
				return results, fmt.Errorf("sweep: %w", err)
			}
		}
		// Most runs have none. One that stays would be read if the result is deleted, to repeat it.
		if partial := PartialPath(s.Dir, name); exists(partial) {
			if err := os.Remove(partial); err != nil {
				return results, fmt.Errorf("sweep: %w", err)
			}
		}
		results = append(results, r.Result)
		if s.Done != nil {
			s.Done(i+1, len(settings))
		}
	}
	return results, nil
}

// PartialPath returns the path of the file, in the folder of a sweep, in which a long run of a
// setting may keep what is done. name is that of the setting, see [Name]. [Run] removes the file
// when there is a result.
func PartialPath(dir, name string) string { return filepath.Join(dir, "partial-"+name+".gob") }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// prefix is that of the names of result files.
const prefix = "result-"

// readRecord reads the file of a result.
func readRecord(path string, r any) error {
	raw, err := config.ReadFile(path)
	if err != nil {
		return fmt.Errorf("sweep: %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return fmt.Errorf("sweep: %s: %w: delete the file to run this setting again", path, err)
	}
	return nil
}
