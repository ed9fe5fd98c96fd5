//go:build !(cgo && unix)

package main

// stdoutClosed is false: without C a closed standard output cannot be told from the null device.
func stdoutClosed() bool { return false }
