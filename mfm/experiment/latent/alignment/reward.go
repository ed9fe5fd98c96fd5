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
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/classifier"
	"github.com/gomfm/gomfm/mfm/reward/text"
)

// Kinds returns the kinds of rewards of pictures by name: those of packages reward, classifier and
// text. The backend computes the embeddings of prompts.
func Kinds(b compute.Backend) map[string]reward.Kind {
	kinds := reward.Kinds()
	maps.Copy(kinds, classifier.Kinds())
	maps.Copy(kinds, text.Loader{Backend: b}.Kinds())
	return kinds
}

// ParseReward returns the reward of pictures that raw describes, of one of [Kinds].
func ParseReward(b compute.Backend, raw []byte) (reward.Reward, error) {
	return reward.Parser{Kinds: Kinds(b)}.Parse(raw)
}

// DefaultReward prefers blue pictures.
func DefaultReward() []byte { return []byte(`{"kind": "color", "hue": 240, "weight": 50}`) }

// HeldOut returns the default of a reward that the steering to the given one does not use: symmetry, or
// for rewards with symmetry the brightness.
func HeldOut(of []byte) []byte {
	if strings.Contains(string(of), `"symmetry"`) {
		return []byte(`{"kind": "brightness", "weight": 1}`)
	}
	return []byte(`{"kind": "symmetry"}`)
}

// canonical returns the JSON of a reward with sorted keys and, instead of the files and folders that
// it names, hashes of their content, so that equal rewards have equal texts.
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
