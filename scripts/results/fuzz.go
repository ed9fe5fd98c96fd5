package main

import (
	"fmt"
	"strings"
)

// fuzzTable has the executions of the fuzz targets of each package.
func (s *store) fuzzTable() string {
	var lines [][]string
	for _, group := range groupBy(s.rows("fuzz.json"), "package") {
		var names []string
		for _, r := range group {
			names = append(names, strings.TrimPrefix(r.Text("target"), "Fuzz"))
		}
		n := total("executions", group)
		lines = append(lines, []string{
			"`" + group[0].Text("package") + "`", strings.Join(names, ", "), comma(n),
			comma(n / total("seconds", group)),
			comma(total("interesting", group)), fmt.Sprint(total("findings", group)),
		})
	}
	return table("package | targets | executions | per second | new inputs | findings", lines)
}

// total returns the sum of the numbers at a key.
func total(key string, rows []row) (sum float64) {
	for _, r := range rows {
		sum += r.Num(key)
	}
	return sum
}
