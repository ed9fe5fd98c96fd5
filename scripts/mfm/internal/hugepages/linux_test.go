//go:build linux

package hugepages

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const printed = "MFM_TEST_HUGEPAGES"

// TestMain lets this binary also run as a program that uses huge pages.
func TestMain(m *testing.M) {
	if os.Getenv(printed) != "" {
		Use()
		fmt.Print(os.Args[1:], os.Getenv(tunables), os.Getenv(restarted), os.Getpid())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The program is the same process with the same arguments, and a setting of the user stays.
func TestUse(t *testing.T) {
	others := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, tunables+"=") || strings.HasPrefix(v, restarted+"=") })
	for _, test := range []struct{ set, want string }{
		{"", "glibc.malloc.hugetlb=1"},
		{restarted + "=1", ""}, // glibc has taken the variable out
		{tunables + "=", ""},
		{tunables + "=glibc.malloc.check=3", "glibc.malloc.check=3"},
	} {
		cmd := exec.Command(os.Args[0], "a b", "c")
		cmd.Env = append(slices.Clone(others), printed+"=1")
		if test.set != "" {
			cmd.Env = append(cmd.Env, test.set)
		}
		out, err := cmd.Output()
		if want := fmt.Sprint([]string{"a b", "c"}, test.want, cmd.Process.Pid); string(out) != want || err != nil {
			t.Errorf("with %q: %q, want %q (%v)", test.set, out, want, err)
		}
	}
}
