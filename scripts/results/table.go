package main

import (
	"fmt"
	"slices"
	"strings"
)

// table returns a Markdown table. The names of its columns are separated as in the table, by " | ".
func table(header string, lines [][]string) string {
	columns := strings.Count(header, " | ") + 1
	var b strings.Builder
	write := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	write([]string{header})
	write(strings.Split(strings.Repeat("---,", columns-1)+"---", ","))
	for _, cells := range lines {
		write(append(cells, make([]string, columns-len(cells))...))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// filledTable is table without the columns that are empty in all lines.
func filledTable(header string, lines [][]string) string {
	names := strings.Split(header, " | ")
	kept := make([][]string, len(lines))
	var headers []string
	for i, name := range names {
		if !slices.ContainsFunc(lines, func(cells []string) bool { return i < len(cells) && cells[i] != "" }) {
			continue
		}
		headers = append(headers, name)
		for k, cells := range lines {
			cell := ""
			if i < len(cells) {
				cell = cells[i]
			}
			kept[k] = append(kept[k], cell)
		}
	}
	return table(strings.Join(headers, " | "), kept)
}

// groupBy splits rows into groups with the same texts at the keys, in the order of their first
// rows.
func groupBy(rows []row, keys ...string) (groups [][]row) {
	index := map[string]int{}
	for _, r := range rows {
		var name strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&name, "%s\n", r.Text(key))
		}
		i, found := index[name.String()]
		if !found {
			i = len(groups)
			index[name.String()] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

// lossNames are the losses as the text calls them.
var lossNames = map[string]string{
	"eulerian": "Eulerian", "lagrangian": "Lagrangian", "meanflow": "mean flow", "semigroup": "semigroup",
	"energy": "energy score",
}

// shares formats the mean weights of the three components of the mixture, of the objects at a key.
func shares(key string, rows []row) string {
	return fmt.Sprintf("%.3f %.3f %.3f", mean(key+".0", rows), mean(key+".1", rows), mean(key+".2", rows))
}
