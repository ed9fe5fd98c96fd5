package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/metric"
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

// values returns the number at a key of each row. A key a/b is the quotient of the numbers at a and
// b.
func values(key string, rows []row) []float64 {
	all := make([]float64, len(rows))
	numerator, denominator, isQuotient := strings.Cut(key, "/")
	for i, r := range rows {
		all[i] = r.Num(numerator)
		if isQuotient {
			all[i] /= r.Num(denominator)
		}
	}
	return all
}

func mean(key string, rows []row) float64      { return stat.Mean(values(key, rows), nil) }
func deviation(key string, rows []row) float64 { return stat.PopStdDev(values(key, rows), nil) }
func least(key string, rows []row) float64     { return slices.Min(values(key, rows)) }
func most(key string, rows []row) float64      { return slices.Max(values(key, rows)) }

func median(key string, rows []row) float64 {
	all := values(key, rows)
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// only returns the number at a key of a single row, and panics if there are several.
func only(key string, rows []row) float64 {
	if len(rows) != 1 {
		panic(fmt.Errorf("%s: %d measurements of %s where one is expected", rows[0].file, len(rows), key))
	}
	return values(key, rows)[0]
}

// within formats the mean over rows and its standard error, as in 0.029 ± 0.001.
func within(format, key string, rows []row) string { return withinValues(format, values(key, rows)) }

func withinValues(format string, all []float64) string {
	m, se := metric.MeanSE(all)
	return fmt.Sprintf(format+" ± "+format, m, se)
}

// span formats the range of the numbers at a key, as in 0.99 to 1.01.
func span(format, key string, rows []row) string {
	return fmt.Sprintf(format+" to "+format, least(key, rows), most(key, rows))
}

// beyond returns √(a² - b²): what is left of a once b is subtracted in quadrature.
func beyond(a, b float64) float64 { return math.Sqrt(a*a - b*b) }

// geometric returns the geometric mean of the numbers at a key.
func geometric(key string, rows []row) float64 { return stat.GeometricMean(values(key, rows), nil) }

// geometricSE returns the standard error of the geometric mean, by that of the logarithms' mean.
func geometricSE(key string, rows []row) float64 {
	all := values(key, rows)
	for i, x := range all {
		all[i] = math.Log(x)
	}
	m, se := metric.MeanSE(all)
	return math.Exp(m) * se
}

// comma formats an integer with thousands separated by commas.
func comma(x float64) string {
	digits := fmt.Sprintf("%.0f", x)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// power formats a number below 1 or above 100,000 in scientific notation, as in 6·10⁻⁵.
func power(precision int, x float64) string {
	if x >= 1 && x < 1e5 || x == 0 {
		return fmt.Sprintf("%.*f", precision, x)
	}
	mantissa, exponent, _ := strings.Cut(fmt.Sprintf("%.*e", precision, x), "e")
	var superscript strings.Builder
	if exponent[0] == '-' {
		superscript.WriteRune('⁻')
	}
	for _, digit := range strings.TrimLeft(exponent[1:], "0") {
		superscript.WriteRune([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[digit-'0'])
	}
	return mantissa + "·10" + superscript.String()
}

// mostOff returns the largest deviation from 1 of the numbers at a key.
func mostOff(key string, rows []row) float64 {
	return max(most(key, rows)-1, 1-least(key, rows))
}

// words are small numbers as words.
var words = strings.Fields("none one two three four five six seven eight nine ten eleven twelve")

func word(n int) string {
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}
