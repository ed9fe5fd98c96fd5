//go:build !(((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla)

package backend

import "github.com/gomlx/compute"

func disableAutoInstall() {}

func plainPath(path string) string { return path }

func open(config string, _ int) (compute.Backend, error) { return compute.NewWithConfig(config) }
