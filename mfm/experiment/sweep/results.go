package sweep

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// Merge returns the results in folders of [Run] and in files of [Write], sorted by their text,
// equal ones by the hash of their setting. Of settings that occur twice it keeps the last result.
// Each element is the result's JSON object with the hash of its setting ([Name]) as the first key,
// "run".
func Merge(from ...string) ([]json.RawMessage, error) {
	all := make(map[string]json.RawMessage)
	for _, source := range from {
		if info, err := os.Stat(source); err == nil && info.Mode().IsRegular() {
			if err := readStored(source, all); err != nil {
				return nil, err
			}
			continue
		}
		names, err := fs.Glob(os.DirFS(source), prefix+"*.json") // the folder's name is no pattern
		if err != nil {
			return nil, fmt.Errorf("sweep: %w", err)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("sweep: %s has no results", source)
		}
		for _, name := range names {
			path := filepath.Join(source, name)
			var r record[json.RawMessage, json.RawMessage]
			if err := readRecord(path, &r); err != nil {
				return nil, err
			}
			name := strings.TrimSuffix(strings.TrimPrefix(name, prefix), ".json")
			var text bytes.Buffer
			if err := json.Compact(&text, r.Result); err != nil || text.Len() < 3 || text.Bytes()[0] != '{' {
				return nil, fmt.Errorf("sweep: %s: the result is not a JSON object: delete the file to run it again",
					path)
			}
			quoted, err := json.Marshal(name) // %q is no JSON for all names
			if err != nil {
				return nil, fmt.Errorf("sweep: %s: %w", path, err)
			}
			all[name] = fmt.Appendf(nil, `{"run":%s,%s`, quoted, text.Bytes()[1:])
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b json.RawMessage) int {
		return cmp.Or(bytes.Compare(withoutName(a), withoutName(b)), bytes.Compare(a, b))
	}), nil
}

// withoutName returns the text of a result after its hash.
func withoutName(result json.RawMessage) []byte {
	_, rest, _ := bytes.Cut(result, []byte(","))
	return rest
}

// Join returns results as a JSON list, one result a line.
func Join(results []json.RawMessage) []byte {
	text := []byte("[\n")
	for i, r := range results {
		if i > 0 {
			text = append(text, ",\n"...)
		}
		text = append(text, r...)
	}
	return append(text, "\n]\n"...)
}

// Write writes results of [Merge] to a file, in the form that [Sweep].Stored and [Read] need. The
// file is replaced in one step.
func Write(path string, results []json.RawMessage) error {
	if err := run.ReplaceFile(path, Join(results)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

// Complete runs the settings of which neither s.Dir nor the file s.Stored has a result, as [Run]
// does. Then it writes the results of both to s.Stored, which need not exist, those of s.Dir in
// preference, and drops those that keep refuses: keep gets the hash of the setting ([Name]) and the
// result's key "test". Nil keeps the results of settings. If s.Dir is empty, the file stays as it
// is.
func Complete[S, R any](
	ctx context.Context, s Sweep, settings []S, do func(context.Context, S) (R, error),
	keep func(name, test string) bool,
) error {
	path, from := s.Stored, []string{s.Stored, s.Dir}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		s.Stored, from = "", from[1:]
	}
	if _, err := Run(ctx, s, settings, do); err != nil {
		return err
	}
	if runs, err := filepath.Glob(filepath.Join(s.Dir, prefix+"*.json")); err != nil || len(runs) == 0 {
		return err
	}
	results, err := Merge(from...)
	if err != nil {
		return err
	}
	if keep == nil {
		names, err := Names(settings)
		if err != nil {
			return err
		}
		keep = func(name, _ string) bool { return names[name] }
	}
	return Write(path, slices.DeleteFunc(results, func(raw json.RawMessage) bool {
		var head struct{ Run, Test string }
		return json.Unmarshal(raw, &head) == nil && !keep(head.Run, head.Test) // Merge has checked raw
	}))
}

// Read returns the results in a file of [Write] whose key "test" has the given value. If the file
// does not exist, it returns no results and no error.
func Read[R any, T ~string](path string, test T) ([]R, error) {
	all, err := readList(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var results []R
	for i, raw := range all {
		var head struct{ Test string }
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, fmt.Errorf("sweep: %s: result %d: %w", path, i+1, err)
		}
		if head.Test != string(test) {
			continue
		}
		var r R
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("sweep: %s: result %d of %s: %w", path, i+1, test, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// readStored adds the results in a file of [Write] to results, by the hashes of their settings.
func readStored(path string, results map[string]json.RawMessage) error {
	all, err := readList(path)
	if err != nil {
		return err
	}
	for i, raw := range all {
		var head struct {
			Name string `json:"run"`
		}
		if err := json.Unmarshal(raw, &head); err != nil || head.Name == "" {
			return fmt.Errorf("sweep: %s: result %d has no hash of its setting", path, i+1)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return fmt.Errorf("sweep: %s: result %d: %w", path, i+1, err)
		}
		results[head.Name] = compact.Bytes()
	}
	return nil
}

// readList returns the elements of a JSON list in a file.
func readList(path string) ([]json.RawMessage, error) {
	raw, err := config.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("sweep: %s: %w", path, err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("sweep: %s: want a JSON list of results: %w", path, err)
	}
	return all, nil
}
