//go:build linux && cgo && !noxla

package compilecache

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "pjrt.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A process has one table of functions of the plugin, and so one function and one folder.
var (
	current   atomic.Pointer[Folder]
	installed sync.Mutex
)

// Use makes the plugin in a file keep in f what it compiles from now on in this process, for all
// its clients, until [Off]. It returns [errors.ErrUnsupported] if the plugin does not load
// executables, its table of functions cannot be changed, or another plugin has a folder. What
// cannot be read from or written to the folder is compiled.
func (f *Folder) Use(plugin string) error {
	path := C.CString(plugin)
	defer C.free(unsafe.Pointer(path))
	installed.Lock()
	defer installed.Unlock()
	table := C.compilecache_table(path)
	if table == nil || !writable(uintptr(table)) || C.compilecache_install(table) == 0 {
		return fmt.Errorf("keeping what %s compiles: %w", plugin, errors.ErrUnsupported)
	}
	current.Store(f)
	return nil
}

// writable reports whether this process may write to the memory at an address, of which a later
// plugin could make a constant.
func writable(address uintptr) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err == nil && from <= address && address < to {
			return strings.Contains(mode, "w")
		}
	}
	return false
}

// Off makes the plugin compile all graphs.
func Off() { current.Store(nil) }

// Processor describes the processor.
func Processor() (string, error) {
	processor, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(processor), "\n\n")
	features := regexp.MustCompile(`(?m)^(cpu family|model|stepping|flags|Features|CPU (implementer|variant|part)).*$`)
	return fmt.Sprint(runtime.GOARCH, runtime.NumCPU(), features.FindAllString(first, -1)), nil
}

// compilecacheCompile is PJRT_Client_Compile with a folder.
//
//export compilecacheCompile
func compilecacheCompile(arguments unsafe.Pointer) unsafe.Pointer {
	args, f := (*C.pjrt_compile)(arguments), current.Load()
	if f == nil {
		return C.compilecache_compile(args)
	}
	file := f.file(view(args.program.code, args.program.code_size), view(args.options, args.options_size),
		int(C.compilecache_devices(args)))
	if kept := read(file); len(kept) > 0 &&
		C.compilecache_load(args, (*C.char)(unsafe.Pointer(&kept[0])), C.size_t(len(kept))) != 0 {
		return nil
	}
	if failed := C.compilecache_compile(args); failed != nil {
		return failed
	}
	var size C.size_t
	if made := C.compilecache_serialize(args.executable, &size); made != nil {
		write(file, view(made, size))
		C.free(unsafe.Pointer(made))
	}
	return nil
}

// view returns C's bytes without a copy.
func view(bytes *C.char, n C.size_t) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(bytes)), n) }
