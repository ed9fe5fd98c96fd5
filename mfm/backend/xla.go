//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package backend

import (
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
)

// disableAutoInstall keeps go-xla from downloading a plugin when it doesn't find the one it was built for.
func disableAutoInstall() { xla.EnableAutoInstall(false) }

// open opens the backend that config names in full. XLA's CPU plugin would make four devices of one CPU, of which this
// project uses one.
func open(config string, cpu bool) (compute.Backend, error) {
	if plugin, ok := strings.CutPrefix(config, "xla:"); ok && cpu {
		if b, err := xla.NewWithOptions(plugin, pjrt.NamedValuesMap{"cpu_device_count": int64(1)}); err == nil {
			return b, nil
		}
	}
	return compute.NewWithConfig(config) // also where a plugin does not know the option
}
