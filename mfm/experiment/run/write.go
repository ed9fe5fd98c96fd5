package run

import (
	"encoding/json"
	"fmt"
	"os"
)

// WriteJSON writes v as indented JSON to a file, which is replaced in one step. A number that is
// not finite is an error, as [CheckFinite] has it.
func WriteJSON(path string, v any) error {
	if err := CheckFinite(v); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return ReplaceFile(path, append(raw, '\n'))
}

// ReplaceFile writes a file under another name and renames it to path, so that path has either the
// old or the new content if the process is killed. It does not wait for the disk: a power failure
// may leave less.
func ReplaceFile(path string, content []byte) error {
	temporary := path + ".part"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
