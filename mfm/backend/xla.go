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

// open opens the backend with a complete config. By default XLA's CPU plugin splits one CPU into
// four devices; this project uses one.
func open(config string, onCPU bool) (compute.Backend, error) {
	if plugin, ok := strings.CutPrefix(config, "xla:"); ok && onCPU {
		if err := preferWideVectors(); err != nil {
			return nil, err
		}
		if b, err := xla.NewWithOptions(plugin, pjrt.NamedValuesMap{"cpu_device_count": int64(1)}); err == nil {
			return b, nil
		}
	}
	return compute.NewWithConfig(config) // also if a plugin does not know the option
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
