// Command results writes the result pages of the repository from the measurements in
// figures/*.json.
//
//	go run ./scripts/results          rewrites figures/README.md and the block of README.md
//	go run ./scripts/results -check   writes nothing, and fails if one of them is not up to date
//
// The text is in templates, and every measured number in it is computed from a JSON file. Run it in
// the root of the repository, or give the root by -root.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	check := flag.Bool("check", false, "write nothing and fail if a page is not up to date")
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes or checks the pages of the repository at root.
func run(root string, check bool) error {
	fsys := os.DirFS(root)
	if check {
		return checkPages(fsys)
	}
	pages, err := render(fsys)
	if err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
