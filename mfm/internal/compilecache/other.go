//go:build !(linux && cgo && !noxla)

package compilecache

import "errors"

// Use returns [errors.ErrUnsupported] on this system.
func (f *Folder) Use(string) error { return errors.ErrUnsupported }

// Off does nothing on this system.
func Off() {}

// Machine returns [errors.ErrUnsupported] on this system.
func Machine(string) (string, error) { return "", errors.ErrUnsupported }
