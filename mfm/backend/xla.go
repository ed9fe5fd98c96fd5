//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
	"golang.org/x/sys/cpu"
)

// disableAutoInstall keeps go-xla from downloading a plugin if it does not find its default one.
func disableAutoInstall() { xla.EnableAutoInstall(false) }

// open opens the backend with a complete config and the given number of devices, zero for one that
// the plugin may not be able to limit.
func open(config string, devices int) (compute.Backend, error) {
	rest, isXLA := strings.CutPrefix(config, "xla:")
	if !isXLA {
		return compute.NewWithConfig(config)
	}
	plugin, options, _ := strings.Cut(rest, ",")
	var limit pjrt.NamedValuesMap
	switch file := filepath.Base(plugin); {
	case pjrt.IsCUDAName(file):
		if devices == 0 {
			b, err := compute.NewWithConfig(config)
			if err != nil || b.NumDevices() == 1 {
				return b, err
			}
			b.Finalize()
		}
		limit = pjrt.NamedValuesMap{"visible_devices": first(max(devices, 1))}
		rest = plugin + "," + limitVisible(options, max(devices, 1))
	case strings.Contains(file, "cpu"): // XLA's default are four devices that share the CPU
		if err := preferWideVectors(); err != nil {
			return nil, err
		}
		limit = pjrt.NamedValuesMap{"cpu_device_count": int64(max(devices, 1))}
	}
	b, err := xla.NewWithOptions(rest, limit)
	if err != nil && devices == 0 { // a plugin that does not know the option
		return compute.NewWithConfig(config)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %d device(s): %w", devices, err)
	}
	return b, nil
}

// first returns the numbers of the first n devices.
func first(n int) []int64 {
	numbers := make([]int64, n)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	return numbers
}

// limitVisible returns go-xla's options with the first n devices of its list of visible ones, if it
// is there.
func limitVisible(options string, n int) string {
	parts := strings.Split(options, ",")
	for i, part := range parts {
		if list, ok := strings.CutPrefix(part, "visible_devices="); ok {
			visible := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(";: ", r) })
			parts[i] = "visible_devices=" + strings.Join(visible[:min(n, len(visible))], ";")
		}
	}
	return strings.Join(parts, ",")
}

// plainPath returns a name of the plugin at path that go-xla does not misread: it ends a path at a
// comma, and takes any plugin for one of CUDA if its folder has a name like that. The folder stays
// open for the name.
func plainPath(path string) string {
	folder, file := filepath.Split(path)
	misread := strings.Contains(folder, ",") || pjrt.IsCUDAName(folder) && !pjrt.IsCUDAName(file)
	if runtime.GOOS != "linux" || !misread {
		return path
	}
	open, err := syscall.Open(folder, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", open, file)
}

// vectorWidth is XLA's flag for the vector width in bits. The default, 256, uses half of AVX-512.
const vectorWidth = "xla_cpu_prefer_vector_width"

// preferWideVectors adds the flag to [EnvXLAFlags] on a CPU with AVX-512, unless it is already
// there or the variable names a file. XLA reads the variable when its first client is created.
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
