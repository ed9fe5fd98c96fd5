// Package hugepages makes the C library allocate large blocks in huge pages. XLA allocates the
// results of every step anew, and page faults take up to a third of the time of a step on a CPU.
package hugepages

import (
	"os"
	"syscall"
)

// tunables is the variable that glibc reads when a program starts.
const tunables = "GLIBC_TUNABLES"

// Use starts the program again with GLIBC_TUNABLES=glibc.malloc.hugetlb=1, which glibc reads from
// version 2.35 on, unless that variable is set. The process stays the same. Call it first in main.
// It returns if there is nothing to do or if that fails, which costs only time.
func Use() {
	if _, set := os.LookupEnv(tunables); set {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	_ = syscall.Exec(program, os.Args, append(os.Environ(), tunables+"=glibc.malloc.hugetlb=1"))
}
