//go:build cgo && unix

// Package stdout tells whether the program has a standard output.
package stdout

// #include <fcntl.h>
//
// static int closed;
//
// __attribute__((constructor)) static void look(void) { closed = fcntl(1, F_GETFD) == -1; }
//
// static int stdoutClosed(void) { return closed; }
import "C"

// Closed reports whether the program was started with its standard output closed. Go's
// runtime opens the null device in its place, which takes every result without an error.
func Closed() bool { return C.stdoutClosed() != 0 }
