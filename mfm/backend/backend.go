// Package backend opens the compute backend that graphs run on: XLA/PJRT where a plugin is found, GoMLX's pure-Go
// backend where none is. It never downloads anything.
package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/gomlx/backends/default" // registers "xla" and "go"
)

// Environment variables that New reads, GoMLX's and go-xla's own.
const (
	EnvBackend    = compute.ConfigEnvVar       // e.g. "xla:cpu", "xla:cuda", "go"
	EnvPluginPath = "PJRT_PLUGIN_LIBRARY_PATH" // folders that hold pjrt_c_api_*_plugin.so, separated by ":"
	EnvXLAFlags   = "XLA_FLAGS"                // XLA's own flags
)

// New opens the backend named by config, "xla:cpu", "xla:cuda" or "go", with go-xla's options after a comma. With an
// empty config it takes $GOMLX_BACKEND, and where that is empty too "xla:cpu" if a plugin is found, "go" otherwise.
//
// A PJRT plugin is looked for where $PJRT_PLUGIN_LIBRARY_PATH says, then in go-xla's own folders, then in the .venv of
// the working directory or of a parent of it, where scripts/setup puts it. For an AVX-512 CPU it adds --xla_cpu_prefer_vector_width=512 to $XLA_FLAGS, unless a width is set there.
func New(config string) (compute.Backend, error) {
	if config == "" {
		config = os.Getenv(EnvBackend)
	}
	if config == "" {
		config = "xla:cpu"
		if findPlugin("cpu") == "" {
			config = "go"
		}
	}
	opened, cpu := config, false
	if rest, isXLA := strings.CutPrefix(config, "xla:"); isXLA {
		name, options, _ := strings.Cut(rest, ",")
		cpu = name == "cpu"
		if !filepath.IsAbs(name) {
			path := findPlugin(name)
			if path == "" {
				return nil, fmt.Errorf("backend %q: no PJRT plugin %q found: run scripts/setup%s, or set %s to the folder of pjrt_c_api_%s_plugin.so",
					config, name, map[bool]string{true: " --cuda"}[strings.HasPrefix(name, "cuda")], EnvPluginPath, name)
			}
			// go-xla reads its search path before main starts, so the file is named outright; it knows a CPU plugin, whose
			// buffers the host shares, by its short name only.
			opened = "xla:" + path
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
	b, err := open(opened, cpu)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", config, err)
	}
	return b, nil
}

// Describe says in one line which backend and device b is, for the top of a notebook or a log, such as
// "xla:cpu, PJRT plugin v0.115, 1 device(s)".
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

// GPU reports whether b's device is a GPU of CUDA's, which wants more rows at a time than a CPU's cache holds.
func GPU(b compute.Backend) bool {
	// The description has the plugin's name or file, in whatever folder that is.
	return b.Name() == "xla" && regexp.MustCompile(`(^xla:|/)[^/ )]*cuda[^/ )]*([ )]|$)`).MatchString(strings.ToLower(b.Description()))
}

// Loops reports whether graph.While can be compiled: on XLA it can; the pure-Go backend, which calls itself "Go Backend", runs it wrongly or not at all.
func Loops(b compute.Backend) bool { return b.Name() != "Go Backend" }

// findPlugin returns the file of the named PJRT plugin, empty where there is none.
func findPlugin(name string) string {
	for _, folder := range pluginFolders() {
		for _, pattern := range []string{"pjrt_c_api_%s_plugin.so", "pjrt-plugin-%s.so", "pjrt_plugin_%s.so", "pjrt_c_api_%s_v*_plugin.so"} {
			if found, _ := filepath.Glob(filepath.Join(folder, fmt.Sprintf(pattern, name))); len(found) > 0 {
				if path, err := filepath.Abs(found[0]); err == nil {
					return path
				}
			}
		}
	}
	return ""
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
		packages, _ := filepath.Glob(filepath.Join(dir, ".venv", "lib", "python3*", "site-packages", "*pjrt*"))
		folders = append(folders, packages...)
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return folders
}
