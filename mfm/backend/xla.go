//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package backend

import (
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
	"golang.org/x/sys/cpu"
)

// disableAutoInstall keeps go-xla from downloading a plugin when it doesn't find the one it was built for.
func disableAutoInstall() { xla.EnableAutoInstall(false) }

// open opens the backend that config names in full. XLA's CPU plugin would make four devices of one CPU, of which this
// project uses one.
func open(config string, onCPU bool) (compute.Backend, error) {
	if plugin, ok := strings.CutPrefix(config, "xla:"); ok && onCPU {
		if err := preferWideVectors(); err != nil {
			return nil, err
		}
		if b, err := xla.NewWithOptions(plugin, pjrt.NamedValuesMap{"cpu_device_count": int64(1)}); err == nil {
			return b, nil
		}
	}
	return compute.NewWithConfig(config) // also where a plugin does not know the option
}

// vectorWidth is XLA's flag for the width of vectors in bits. Its default, 256, leaves half of each unit of an AVX-512 CPU idle.
const vectorWidth = "xla_cpu_prefer_vector_width"

// preferWideVectors adds the flag to [EnvXLAFlags], which XLA reads when its first client is made, on a CPU that has AVX-512, unless it is there already or the variable names a file.
func preferWideVectors() error {
	flags := os.Getenv(EnvXLAFlags)
	file := flags != "" && !strings.HasPrefix(strings.TrimSpace(flags), "-")
	if !cpu.X86.HasAVX512F || strings.Contains(flags, vectorWidth) || file {
		return nil
	}
	if err := os.Setenv(EnvXLAFlags, strings.TrimSpace(fmt.Sprintf("%s --%s=512", flags, vectorWidth))); err != nil {
		return fmt.Errorf("setting %s: %w", EnvXLAFlags, err)
	}
	return nil
}
