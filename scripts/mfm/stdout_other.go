//go:build !(cgo && unix)

package main

// stdoutClosed is false: without C a closed standard output is the same as the null device.
func stdoutClosed() bool { return false }
