//go:build linux

// Package hugepages makes the C library allocate large blocks in huge pages. XLA allocates the
// results of every step anew, and page faults take a part of the time of a step on a CPU.
package hugepages

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	tunables = "GLIBC_TUNABLES" // glibc reads it when a program starts
	// restarted marks the second start: a program with privileges does not see tunables in either.
	restarted = "MFM_RESTARTED"
)

// Use starts the program again with GLIBC_TUNABLES=glibc.malloc.hugetlb=1, which glibc reads from
// version 2.35 on, unless that variable is set. The process stays the same. Call it first in main.
// It returns if there is nothing to do or if that fails, which costs only time. A debugger loses
// its breakpoints in the new start: set the variable, to an empty text for instance.
func Use() {
	if _, again := os.LookupEnv(restarted); again {
		_ = os.Unsetenv(restarted) // programs that this one starts decide by themselves
		return
	}
	if _, set := os.LookupEnv(tunables); set {
		return
	}
	program, err := os.Executable()
	if err != nil || strings.HasPrefix(filepath.Base(program), "ld-") {
		return // a loader would take the first argument for the program
	}
	_ = syscall.Exec(program, os.Args, append(os.Environ(), tunables+"=glibc.malloc.hugetlb=1", restarted+"=1"))
}
