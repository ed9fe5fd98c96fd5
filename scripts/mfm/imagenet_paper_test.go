package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// words splits a line of a shell into words; single quotes keep one together.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

// The commands of figures/README.md that need released weights fail for no other reason than that
// these are not there: their flags, presets and grids are valid. TestGrids reads the rewards.
func TestPaperCommands(t *testing.T) {
	page, err := os.ReadFile("../../figures/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "## The paper's ImageNet experiments\n")
	_, block, more := strings.Cut(section, "```sh\n")
	block, _, closed := strings.Cut(block, "\n```")
	if !found || !more || !closed {
		t.Fatal("figures/README.md has no block of commands of the paper's experiments")
	}
	figures, err := os.ReadDir("../../figures/grids")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/figures/grids", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		raw, err := os.ReadFile("../../figures/grids/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "figures/grids/"+f.Name(), string(raw))
	}
	t.Chdir(dir)
	t.Setenv("GOMLX_BACKEND", "go") // the plugin of XLA is found from the repository
	missing := regexp.MustCompile(`--checkpoint must name a folder with one of mfm-xl2\.pt|folder xl2 of a run: no such file|` +
		`--statistics: VIRTUAL_imagenet256_labeled\.npz: no such file`)
	number := 0
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		number++
		args := words(strings.TrimSpace(line))
		if code, _, stderr := invoke(t.Context(), args[1:]...); args[0] != "mfm" || code != 2 || !missing.MatchString(stderr) {
			t.Errorf("%s\nexits with %d, want 2 for weights that are missing: %s", line, code, stderr)
		}
	}
	if number != 7 {
		t.Errorf("%d commands, want 7", number)
	}
}
