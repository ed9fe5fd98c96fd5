package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/gomfm/gomfm/mfm/figure"
)

// shownFigure matches a figure of the results page, which stands on a line of its own.
var shownFigure = regexp.MustCompile(`(?m)^!\[[^\]]*\]\((\w+\.png)\)$`)

// caption returns the caption that a figure holds, empty if it holds none.
func caption(fsys fs.FS, name string) (string, error) {
	file, err := fs.ReadFile(fsys, path.Join("figures", name))
	if err != nil {
		return "", fmt.Errorf("read the figure: %w", err)
	}
	text, err := figure.ReadCaption(file)
	if err != nil {
		return "", fmt.Errorf("read the caption of %s: %w", name, err)
	}
	return strings.NewReplacer("*", `\*`, "|", `\|`, "\n", " ").Replace(text), nil
}

// captioned returns a page with the caption below each figure.
func captioned(fsys fs.FS, page string) (string, error) {
	var failed error
	page = shownFigure.ReplaceAllStringFunc(page, func(line string) string {
		text, err := caption(fsys, shownFigure.FindStringSubmatch(line)[1])
		if err != nil && failed == nil {
			failed = err
		}
		if text == "" {
			return line
		}
		return line + "\n\n*" + text + "*"
	})
	return page, failed
}

// gallery returns a table of the figures in the folder figures that page does not show, with their
// captions.
func (s *store) gallery(page string) (string, error) {
	shown := map[string]bool{}
	for _, match := range shownFigure.FindAllStringSubmatch(page, -1) {
		shown[match[1]] = true
	}
	paths, err := fs.Glob(s.fsys, "figures/*.png")
	if err != nil {
		return "", err
	}
	var cells []string
	for _, p := range paths {
		name := path.Base(p)
		if shown[name] {
			continue
		}
		text, err := caption(s.fsys, name)
		if err != nil {
			return "", err
		}
		title := strings.ReplaceAll(strings.TrimSuffix(name, ".png"), "_", " ")
		cell := fmt.Sprintf("![%s](%s)", title, name)
		if text != "" {
			cell += "<br>*" + text + "*"
		}
		cells = append(cells, cell)
	}
	if len(cells)%2 == 1 {
		cells = append(cells, "")
	}
	lines := []string{"| | |", "| --- | --- |"}
	for i := 0; i < len(cells); i += 2 {
		lines = append(lines, "| "+cells[i]+" | "+cells[i+1]+" |")
	}
	return strings.Join(lines, "\n"), nil
}
