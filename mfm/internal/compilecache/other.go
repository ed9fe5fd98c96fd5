//go:build !(linux && cgo && !noxla)

package compilecache

import "errors"

// Use returns [errors.ErrUnsupported] on this system.
func (f *Folder) Use(string) error { return errors.ErrUnsupported }

// Off does nothing on this system.
func Off() {}

// Processor returns [errors.ErrUnsupported] on this system.
func Processor() (string, error) { return "", errors.ErrUnsupported }
