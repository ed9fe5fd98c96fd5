//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package backend

import "github.com/gomlx/go-xla/compute/xla"

// disableAutoInstall keeps go-xla from downloading a plugin when it doesn't find the one it was built for.
func disableAutoInstall() { xla.EnableAutoInstall(false) }
