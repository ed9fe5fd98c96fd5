package alignment

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/classifier"
	"github.com/gomfm/gomfm/mfm/reward/text"
)

// Kinds returns the kinds of rewards of pictures by name: those of packages reward, classifier and
// text. The backend computes the embeddings of prompts. The vocabulary of CLIP is by default that
// of `mfm weights get clip-vocabulary` in its folder.
func Kinds(b compute.Backend) map[string]reward.Kind {
	kinds := reward.Kinds()
	maps.Copy(kinds, classifier.Kinds())
	l := text.Loader{Backend: b}
	if r, err := pretrained.FindRelease("clip-vocabulary"); err == nil {
		l.Vocabulary, _ = r.DefaultPath() // without a cache folder there is no default
	}
	maps.Copy(kinds, l.Kinds())
	return kinds
}

// ParseReward returns the reward of pictures that raw describes, of one of [Kinds].
func ParseReward(b compute.Backend, raw []byte) (reward.Reward, error) {
	return reward.Parser{Kinds: Kinds(b)}.Parse(raw)
}

// DefaultReward prefers blue pictures.
func DefaultReward() []byte { return []byte(`{"kind": "color", "hue": 240, "weight": 50}`) }

// HeldOut returns the default of a reward that the steering to the given one does not use:
// symmetry, for rewards with symmetry the brightness, and for those with both the color red.
func HeldOut(of []byte) []byte {
	switch text := string(of); {
	case !strings.Contains(text, `"symmetry"`):
		return []byte(`{"kind": "symmetry"}`)
	case !strings.Contains(text, `"brightness"`):
		return []byte(`{"kind": "brightness", "weight": 1}`)
	}
	return []byte(`{"kind": "color", "hue": 0, "weight": 1}`)
}

// canonical returns the JSON of a reward with sorted keys and, instead of the files and folders
// that it names, hashes of their content, so that equal rewards have equal texts.
func canonical(raw []byte) (string, error) {
	sorted, err := withFiles(raw, hashFile)
	return string(sorted), err
}

// RewardIn returns the JSON of a reward in which the files and folders that it names by relative
// paths are those in dir. It returns an error for text that is no JSON.
func RewardIn(dir string, raw []byte) ([]byte, error) {
	return withFiles(raw, func(path string) (string, error) {
		if filepath.IsAbs(path) {
			return path, nil
		}
		return filepath.Join(dir, path), nil
	})
}

// withFiles returns the JSON of a reward with sorted keys and another text, that of the function,
// instead of each file or folder that it names.
func withFiles(raw []byte, of func(path string) (string, error)) ([]byte, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("%.100q is no JSON object: %w", raw, err)
	}
	v, err := replaced(v, of)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// fileKeys are the keys of rewards whose values name files or folders.
var fileKeys = []string{"weights", "vocabulary", "head"}

// replaced returns a value of JSON in which the texts of files and folders are replaced.
func replaced(v any, of func(path string) (string, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if path, is := value.(string); is && slices.Contains(fileKeys, key) && path != "" {
				v[key], err = of(path)
			} else {
				v[key], err = replaced(value, of)
			}
			if err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = replaced(v[i], of); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// filesOf returns the hashes of the files and folders that a reward in canonical JSON names.
func filesOf(text string) (all []string, err error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, of := range v {
				if hash, is := of.(string); is && slices.Contains(fileKeys, key) {
					all = append(all, hash)
				}
				add(of)
			}
		case []any:
			for _, of := range v {
				add(of)
			}
		}
	}
	add(v)
	return all, nil
}

// overlap returns a term that two rewards in canonical JSON have in common, empty for none. Terms
// are compared up to factors, and without what changes the computation alone.
func overlap(a, b string) (string, error) {
	first, err := terms(a)
	if err != nil {
		return "", err
	}
	second, err := terms(b)
	if err != nil {
		return "", err
	}
	for _, term := range first {
		if slices.Contains(second, term) {
			return term, nil
		}
	}
	return "", nil
}

// terms returns the rewards of which a reward in canonical JSON is a sum, or a multiple, without
// their factors. That of [OriginalKind] is the one that it prepares pictures for.
func terms(text string) ([]string, error) {
	var v struct {
		Kind string          `json:"kind"`
		Of   json.RawMessage `json:"of"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("reward: %w", err)
	}
	switch v.Kind {
	case "scaled", OriginalKind:
		return terms(string(v.Of))
	case "sum":
		var of []json.RawMessage
		if err := json.Unmarshal(v.Of, &of); err != nil {
			return nil, fmt.Errorf("reward sum: %w", err)
		}
		var all []string
		for _, raw := range of {
			more, err := terms(string(raw))
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
		return all, nil
	}
	var term map[string]any
	if err := json.Unmarshal([]byte(text), &term); err != nil {
		return nil, fmt.Errorf("reward: %w", err)
	}
	if _, factor := term["weight"].(float64); factor {
		delete(term, "weight")
	}
	delete(term, "checkpoint")
	delete(term, "compute")
	if term["kind"] != "image_reward" {
		delete(term, "vocabulary") // that of CLIP has a default
	}
	sorted, err := json.Marshal(term)
	return []string{string(sorted)}, err
}

// hashFile returns a hash of the content of a file, or of all files in a folder and of their names.
func hashFile(path string) (string, error) {
	root, err := filepath.EvalSymlinks(path) // of which WalkDir follows none
	if err != nil {
		return "", err
	}
	var all []string
	err = filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := data.FileSHA256(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		all = append(all, filepath.ToSlash(relative), sum)
		return err
	})
	if err != nil {
		return "", err
	}
	return hashJSON(all)
}

// hashJSON returns a hash of a value's JSON.
func hashJSON(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%x", sum[:8]), nil
}
