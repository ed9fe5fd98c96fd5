package mfm_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the package comment and in the README is the tested example.
func TestDocProgramIsTheExample(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, program, found := strings.Cut(read("doc.go"), "panics on an error.\n//\n")
	program, _, ended := strings.Cut(program, "package mfm")
	if !found || !ended {
		t.Fatal("the package comment has no program")
	}
	body := strings.ReplaceAll("\n"+program, "\n//", "\n")
	if example := read("example_test.go"); !strings.Contains(example, "func Example() {"+body+"\t// Output: 3\n}\n") {
		t.Errorf("the program of the package comment is not the body of Example:\n%s", body)
	}
	block := "```go\n" + strings.TrimPrefix(strings.ReplaceAll(body, "\n\t", "\n"), "\n") + "```"
	if !strings.Contains(read("../README.md"), block) {
		t.Errorf("the program of README.md is not that of the package comment:\n%s", block)
	}
}
