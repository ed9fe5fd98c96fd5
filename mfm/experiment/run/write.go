package run

import (
	"bytes"
	"encoding/gob"
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

// WriteGob writes v to a file in the encoding of package encoding/gob, which keeps numbers that are
// not finite. The file is replaced in one step.
func WriteGob(path string, v any) error {
	var raw bytes.Buffer
	if err := gob.NewEncoder(&raw).Encode(v); err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return ReplaceFile(path, raw.Bytes())
}

// ReadGob reads v, which must be zero, from a file that [WriteGob] wrote: a field that is zero in
// the file stays as it is. It returns an error with [os.ErrNotExist] if there is no file.
func ReadGob(path string, v any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w: delete the file to begin again", path, err)
	}
	return nil
}
