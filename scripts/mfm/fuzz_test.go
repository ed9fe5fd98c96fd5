package main

import (
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// FuzzNumbers checks that any text gives an error, or finite numbers, one for each field.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"1,2", " 1 , -2e3", "", "nan", "1e400", "inf", "0x1p-2", "1,,2", "a\nb", "1_0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var all []float32
		err := fuzztest.Read(t, len(text), 256, func() (err error) {
			all, err = numbers(text)
			return err
		})
		if err != nil {
			return
		}
		if len(all) != strings.Count(text, ",")+1 {
			t.Errorf("%q has %d numbers", text, len(all))
		}
		for _, v := range all {
			if v-v != 0 {
				t.Errorf("%q has the number %g", text, v)
			}
		}
	})
}
