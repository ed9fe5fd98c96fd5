package main

import "testing"

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 steps", 1: "1 step", 2: "2 steps"} {
		if got := count(n, "step"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
