//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package backend

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
	"golang.org/x/sys/cpu"

	"github.com/gomfm/gomfm/mfm/internal/compilecache"
)

// disableAutoInstall keeps go-xla from downloading a plugin if it does not find its default one.
func disableAutoInstall() { xla.EnableAutoInstall(false) }

// open opens the backend with a complete config and the given number of devices. Zero means one, if
// the plugin can limit their number.
func open(config string, devices int) (compute.Backend, error) {
	plugin, isXLA := strings.CutPrefix(config, "xla:")
	cpu := isXLA && isCPU(plugin)
	if cpu {
		if err := cmp.Or(preferWideVectors(), keepCompiled(plugin)); err != nil {
			return nil, err
		}
	}
	if cpu || isXLA && devices > 0 {
		b, err := xla.NewWithOptions(plugin, limit(plugin, max(devices, 1)))
		if err == nil {
			return b, nil
		}
		if devices > 0 {
			return nil, fmt.Errorf("opening %d device(s): %w", devices, err)
		}
	}
	b, err := compute.NewWithConfig(config)
	several, isXLA := b.(*xla.Backend)
	if err != nil || devices > 0 || !isXLA || several.NumDevices() == 1 {
		return b, err
	}
	if first := limit(cmp.Or(several.Config(), several.PluginName()), 1); first != nil {
		if one, err := xla.NewWithOptions(several.Config(), first); err == nil {
			several.Finalize()
			return one, nil
		}
	}
	return b, nil // a plugin that does not know the option
}

// mostCompiled is the size of a folder of compiled graphs in bytes.
const mostCompiled = 1 << 30

// atStart returns the variables that XLA reads when a process makes its first client, as they were
// then.
var atStart = sync.OnceValue(func() [3]string {
	return [3]string{os.Getenv(EnvXLAFlags), os.Getenv("PJRT_NPROC"), os.Getenv("NPROC")}
})

// keepCompiled makes the plugin in a config of go-xla keep its compiled graphs as [New] says.
func keepCompiled(config string) error {
	compilecache.Off()
	file, _, _ := strings.Cut(config, ",")
	flags, folder, first := os.Getenv(EnvXLAFlags), os.Getenv(EnvCompileCache), atStart()
	if folder == "off" || strings.Contains(flags, "xla_dump") || namesFile(flags) || flags != first[0] ||
		os.Getenv(pjrt.EnvXlaDebugOptions) != "" {
		return nil
	}
	named := folder != ""
	if user, err := os.UserCacheDir(); err == nil && !named {
		folder = filepath.Join(user, "gomfm", "xla")
	}
	if folder == "" { // there is no home
		return nil
	}
	processor, err := compilecache.Processor()
	var kept *compilecache.Folder
	if err == nil {
		kept, err = compilecache.Open(folder, mostCompiled, file, append(first[:], processor)...)
	}
	if err == nil {
		err = kept.Use(file)
	}
	if err != nil && named && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("$%s: %w: name a folder of your own, or off", EnvCompileCache, err)
	}
	return nil
}

// namesFile reports whether a value of [EnvXLAFlags] is the name of a file with flags.
func namesFile(flags string) bool {
	return flags != "" && !strings.HasPrefix(strings.TrimSpace(flags), "-")
}

// isCPU reports whether a config of go-xla, a plugin and options, names XLA's plugin for the CPU.
func isCPU(config string) bool {
	plugin, _, _ := strings.Cut(config, ",")
	file := filepath.Base(plugin)
	return strings.Contains(file, "cpu") && !pjrt.IsCUDAName(file)
}

// limit returns the client's options for the first n devices of the plugin in a config of go-xla,
// nil if the plugin has no such option or the config has it. By default XLA's CPU plugin has four
// devices that share the CPU.
func limit(config string, n int) pjrt.NamedValuesMap {
	plugin, options, _ := strings.Cut(config, ",")
	switch {
	case isCPU(config):
		return pjrt.NamedValuesMap{"cpu_device_count": int64(n)}
	case pjrt.IsCUDAName(filepath.Base(plugin)) && !strings.Contains(options, "visible_devices"):
		visible := make([]int64, n)
		for i := range visible {
			visible[i] = int64(i)
		}
		return pjrt.NamedValuesMap{"visible_devices": visible}
	}
	return nil
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
	if !cpu.X86.HasAVX512F || strings.Contains(flags, vectorWidth) || namesFile(flags) {
		return nil
	}
	if err := os.Setenv(EnvXLAFlags, strings.TrimSpace(fmt.Sprintf("%s --%s=512", flags, vectorWidth))); err != nil {
		return fmt.Errorf("setting %s: %w", EnvXLAFlags, err)
	}
	return nil
}
