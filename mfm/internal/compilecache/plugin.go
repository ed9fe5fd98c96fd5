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
	"sync/atomic"
	"unsafe"
)

// current is the folder of the plugin's function, of which a process has one.
var current atomic.Pointer[Folder]

// Use makes the plugin in a file keep in f what it compiles from now on in this process, for all
// its clients, until [Off]. It returns [errors.ErrUnsupported] if the plugin does not load
// executables, or another plugin has a folder. What cannot be read from or written to the folder
// is compiled.
func (f *Folder) Use(plugin string) error {
	path := C.CString(plugin)
	defer C.free(unsafe.Pointer(path))
	if C.compilecache_install(path) == 0 {
		return fmt.Errorf("keeping what %s compiles: %w", plugin, errors.ErrUnsupported)
	}
	current.Store(f)
	return nil
}

// Off makes the plugin compile all graphs.
func Off() { current.Store(nil) }

// Machine describes the plugin's file and the processor, of which executables are a function.
func Machine(plugin string) (string, error) {
	info, err := os.Stat(plugin)
	if err != nil {
		return "", err
	}
	processor, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(processor), "\n\n")
	features := regexp.MustCompile(`(?m)^(model name|flags|Features|CPU (implementer|variant|part)\s*):?.*$`)
	return fmt.Sprint(info.Name(), info.Size(), info.ModTime().UnixNano(), runtime.GOARCH, runtime.NumCPU(),
		features.FindAllString(first, -1)), nil
}

// compilecacheCompile is PJRT_Client_Compile with a folder.
//
//export compilecacheCompile
func compilecacheCompile(arguments unsafe.Pointer) unsafe.Pointer {
	args, f := (*C.pjrt_compile)(arguments), current.Load()
	if f == nil {
		return C.compilecache_compile(args)
	}
	file := f.file(view(args.program.code, args.program.code_size), view(args.options, args.options_size))
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
