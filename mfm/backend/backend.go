// Package backend opens the compute backend that runs graphs: XLA/PJRT if a plugin is found,
// otherwise GoMLX's pure-Go backend. It never downloads anything. [New] opens a backend;
// [Describe], [GPU] and [Loops] report its properties.
package backend

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/gomlx/backends/default" // registers "xla" and "go"
)

// These are the environment variables that New reads, of GoMLX, go-xla, XLA and this package.
const (
	EnvBackend      = compute.ConfigEnvVar       // for example "xla:cpu", "xla:cuda" or "go"
	EnvPluginPath   = "PJRT_PLUGIN_LIBRARY_PATH" // colon-separated folders of plugins
	EnvXLAFlags     = "XLA_FLAGS"                // XLA's flags
	EnvCompileCache = "MFM_COMPILE_CACHE"        // folder of compiled graphs, or "off"
)

// New opens the backend named by config, "xla:cpu", "xla:cuda" or "go", optionally with options
// after a comma: "devices=N" or those of go-xla. If config is empty it uses $GOMLX_BACKEND; if that
// is empty too, "xla:cpu" if a plugin is found and "go" otherwise.
//
// The backend has one device, or N with the option "devices=N" of an XLA plugin: the first N GPUs
// of "xla:cuda", or N virtual devices that share the CPU. Of GPUs that go-xla's option
// visible_devices lists, and of other plugins, it has all devices. A trainer of package train and a
// sampler of package mfm split their batches over all of them; everything else runs on the first.
// New returns an error if the plugin does not have N devices. All devices belong to this process:
// several hosts would need PJRT's key-value callbacks, which go-xla does not have.
//
// New looks for PJRT plugins in $PJRT_PLUGIN_LIBRARY_PATH if it is set, otherwise in go-xla's
// folders and then in the .venv of the working directory or of its parents, where scripts/setup
// installs one. On an AVX-512 CPU it adds --xla_cpu_prefer_vector_width=512 to $XLA_FLAGS, unless
// that sets a width.
//
// On Linux graphs that XLA compiled for the CPU are kept in the folder $MFM_COMPILE_CACHE, or in
// gomfm/xla in [os.UserCacheDir] if that is not set, and are loaded where the same graph is built
// again. If New finds more than 1 GiB there, it removes those that were not used for longest. "off"
// keeps none, and so do flags of XLA that dump graphs, are in a file, or changed since the first
// backend of the process. All backends of a process use what its last New chose. New returns an
// error if it cannot write to a folder that $MFM_COMPILE_CACHE names, or others can: the files
// are machine code.
//
// XLA allocates the results of every step anew. On Linux GLIBC_TUNABLES=glibc.malloc.hugetlb=1 in
// the environment of the program makes page faults rarer, and steps with large results faster, on a
// CPU; command mfm and the scripts set it.
func New(config string) (compute.Backend, error) {
	if config = cmp.Or(config, os.Getenv(EnvBackend)); config == "" {
		config = "xla:cpu"
		if findPlugin("cpu") == "" {
			config = "go"
		}
	}
	opened, devices, err := cutDevices(config)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", config, err)
	}
	file := ""
	if rest, isXLA := strings.CutPrefix(opened, "xla:"); isXLA {
		name, options, _ := strings.Cut(rest, ",")
		if !filepath.IsAbs(name) {
			if file = findPlugin(name); file == "" {
				return nil, fmt.Errorf("backend %q: no PJRT plugin %q found: %s", config, name, remedy(name))
			}
			if err := checkPlugin(file); err != nil {
				return nil, fmt.Errorf("backend %q: the plugin %s is damaged: %w: install it again: %s", config, file, err,
					remedy(name))
			}
			// go-xla reads its search path before main starts, so name the file. It knows a CPU
			// plugin, whose buffers the host shares, only by its short name.
			opened = "xla:" + plainPath(file)
			if name == "cpu" && !strings.Contains(options, "shared_buffers") {
				opened += ",shared_buffers"
			}
			if options != "" {
				opened += "," + options
			}
		}
	}
	if kind, _, _ := strings.Cut(opened, ":"); !slices.Contains(compute.List(), kind) {
		return nil, fmt.Errorf("backend %q is unknown: use xla:cpu, xla:cuda or go", config)
	}
	disableAutoInstall()
	b, err := open(sequential(opened), devices)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %s", config, once(err.Error(), file))
	}
	if n := b.NumDevices(); n != devices && devices > 0 {
		b.Finalize()
		return nil, fmt.Errorf("backend %q has %d device(s), not %d: ask for %d", config, n, devices, n)
	}
	return b, nil
}

// sequential makes a pure-Go backend run one operation at a time, unless its options say otherwise.
// Convolutions that run side by side wait for each other's workers forever (compute v0.1.4); the
// workers of one operation suffice.
func sequential(config string) string {
	kind, options, _ := strings.Cut(config, ":")
	if kind != "go" || strings.Contains(options, "ops_") {
		return config
	}
	if options != "" {
		options += ","
	}
	return kind + ":" + options + "ops_sequential"
}

// once returns text with the path of a file in full at its first occurrence alone.
func once(text, path string) string {
	before, after, found := strings.Cut(text, path)
	if path == "" || !found {
		return text
	}
	return before + path + strings.ReplaceAll(after, path, filepath.Base(path))
}

// checkPlugin returns an error if a file is no PJRT plugin, or a part of one, which go-xla reports
// in several lines. It checks the format of Linux alone.
func checkPlugin(path string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "GetPjrtApi" }) {
		return errors.New("it has no symbol GetPjrtApi")
	}
	return nil
}

// devicesOption is the option that New reads itself.
const devicesOption = "devices="

// WithDevices returns config, or $GOMLX_BACKEND if that is empty, with the option "devices=n" in
// place of the one that it has.
func WithDevices(config string, n int) string {
	parts := strings.Split(cmp.Or(config, os.Getenv(EnvBackend), "xla:cpu"), ",")
	parts = slices.DeleteFunc(parts, func(part string) bool { return strings.HasPrefix(part, devicesOption) })
	return strings.Join(append(parts, devicesOption+strconv.Itoa(n)), ",")
}

// cutDevices returns config without the option for the number of devices, and that number, or zero
// if config has no such option.
func cutDevices(config string) (rest string, devices int, err error) {
	parts := strings.Split(config, ",")
	i := slices.IndexFunc(parts, func(part string) bool { return strings.HasPrefix(part, devicesOption) })
	if i < 0 {
		return config, 0, nil
	}
	devices, err = strconv.Atoi(strings.TrimPrefix(parts[i], devicesOption))
	if err != nil || devices < 1 || devices > 4096 {
		return "", 0, fmt.Errorf("%s: give a number of devices in [1, 4096]", parts[i])
	}
	return strings.Join(slices.Delete(parts, i, i+1), ","), devices, nil
}

// Missing returns one line that says that [New] opens the pure-Go backend for this config because
// it finds no plugin of XLA, and how to get one. It returns the empty string if New does not.
func Missing(config string) string {
	if cmp.Or(config, os.Getenv(EnvBackend)) != "" || findPlugin("cpu") != "" {
		return ""
	}
	return "no plugin of XLA is found, so the pure-Go backend runs, which is slower and has no loops: " + remedy("cpu")
}

// remedy says how to get the named PJRT plugin.
func remedy(name string) string {
	flag, folder := "", "lib/python3*/site-packages/lammps_jax_pjrt_cpu"
	if strings.HasPrefix(name, "cuda") {
		flag, folder = " --cuda", "lib/pjrt"
	}
	return fmt.Sprintf("run scripts/setup%s in a checkout of gomfm; outside of it, set %s to the folder of "+
		"pjrt_c_api_%s_plugin.so, which is .venv/%s there", flag, EnvPluginPath, name, folder)
}

// Describe returns one line on b's kind, plugin version and devices, for the start of a notebook or
// a log, such as "xla:cpu, PJRT plugin v0.115, 1 device(s)".
func Describe(b compute.Backend) string {
	description := b.Description()
	if b.Name() != "xla" {
		return description
	}
	device, version := "cpu", ""
	if GPU(b) {
		device = "cuda"
	}
	if m := regexp.MustCompile(`\bv[0-9]+\.[0-9]+\b`).FindString(description); m != "" {
		version = ", PJRT plugin " + m
	}
	return fmt.Sprintf("xla:%s%s, %d device(s)", device, version, b.NumDevices())
}

// GPU reports whether b's device is a CUDA GPU, which needs larger batches than a CPU.
func GPU(b compute.Backend) bool {
	// The description contains the plugin's name or the path of its file, whose folder may have any
	// name.
	cuda := regexp.MustCompile(`^xla:[^/ ]*cuda|/[^/]*cuda[^/]*\.so`)
	return b.Name() == "xla" && cuda.MatchString(strings.ToLower(b.Description()))
}

// Loops reports whether b can compile graph.While. XLA can. The pure-Go backend, whose name is "Go
// Backend", runs it wrongly or not at all.
func Loops(b compute.Backend) bool { return b.Name() != "Go Backend" }

// findPlugin returns the path of the named PJRT plugin, empty if absent.
func findPlugin(name string) string {
	patterns := []string{
		"pjrt_c_api_%s_plugin.so", "pjrt-plugin-%s.so", "pjrt_plugin_%s.so", "pjrt_c_api_%s_v*_plugin.so",
	}
	for _, folder := range pluginFolders() {
		for _, pattern := range patterns {
			for _, found := range glob(folder, fmt.Sprintf(pattern, name)) {
				if path, err := filepath.Abs(found); err == nil {
					return path
				}
			}
		}
	}
	return ""
}

// glob returns the paths below a folder that match a pattern. The name of the folder itself is no
// pattern, whatever characters it has.
func glob(folder, pattern string) []string {
	found, _ := fs.Glob(os.DirFS(folder), pattern)
	for i, name := range found {
		found[i] = filepath.Join(folder, name)
	}
	return found
}

func pluginFolders() []string {
	if path := os.Getenv(EnvPluginPath); path != "" {
		return filepath.SplitList(path)
	}
	var folders []string
	if home, err := os.UserHomeDir(); err == nil {
		folders = append(folders, filepath.Join(home, ".local", "lib", "go-xla"))
	}
	folders = append(folders, "/usr/local/lib/go-xla", "/usr/local/lib/gomlx/pjrt")
	dir, err := os.Getwd()
	for err == nil {
		folders = append(folders, filepath.Join(dir, ".venv", "lib", "pjrt"))
		folders = append(folders, glob(filepath.Join(dir, ".venv", "lib"), "python3*/site-packages/*pjrt*")...)
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return folders
}
