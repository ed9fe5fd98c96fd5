//go:build !linux

// Package hugepages makes the C library allocate large blocks in huge pages, on Linux.
package hugepages

// Use does nothing: the variable is glibc's.
func Use() {}
