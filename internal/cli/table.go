package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// style is how a piece of text stands out on a terminal.
type style int

const (
	plain style = iota
	bold
	faint
	good
	warning
	bad
)

var styleCodes = [...]string{plain: "", bold: "1", faint: "2", good: "32", warning: "33", bad: "31"}

// cell is one entry of a table. It is made by text or styled.
type cell struct {
	text  string
	style style
}

// text is a cell. What comes from elsewhere cannot steer the terminal by it.
func text(s string) cell { return cell{text: clean(s, false)} }

// number is a cell.
func number[N ~int | ~int32 | ~int64 | ~uint64](n N) cell { return cell{text: fmt.Sprint(n)} }

// styled is a cell that stands out.
func styled(st style, s string) cell { return cell{clean(s, false), st} }

// column is one of a table. A name in lower case becomes its head in upper case.
type column struct {
	name string
	// right aligns to the right, as numbers are.
	right bool
	// wide is shown with -o wide only.
	wide bool
}

// table is a table for people.
type table struct {
	columns []column
	rows    [][]cell
}

// newTable returns one with such columns; a name that ends in # is of numbers, one
// that ends in + is shown with -o wide only.
func newTable(names ...string) *table {
	t := new(table)
	for _, name := range names {
		c := column{name: name}
		c.name, c.wide = strings.CutSuffix(c.name, "+")
		c.name, c.right = strings.CutSuffix(c.name, "#")
		t.columns = append(t.columns, c)
	}
	return t
}

// add adds a row, with a cell for each column.
func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// writeTo lays the table out.
func (t *table) writeTo(w io.Writer, wide, colours bool) error {
	head := make([]cell, len(t.columns))
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		head[i] = styled(bold, strings.ToUpper(c.name))
		widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for _, row := range append([][]cell{head}, t.rows...) {
		var line strings.Builder
		gap := 0
		for i, c := range t.columns {
			if c.wide && !wide {
				continue
			}
			room := widths[i] - utf8.RuneCountInString(row[i].text)
			if c.right {
				gap, room = gap+room, 0
			}
			if row[i].text != "" {
				// Spaces are written only before something, so that no line ends in them.
				line.WriteString(strings.Repeat(" ", gap))
				line.WriteString(paint(row[i], colours))
				gap = 0
			}
			gap += room + 2
		}
		if _, err := fmt.Fprintln(w, line.String()); err != nil {
			return err
		}
	}
	return nil
}

func paint(c cell, colours bool) string {
	if !colours || c.style == plain || c.text == "" {
		return c.text
	}
	return "\x1b[" + styleCodes[c.style] + "m" + c.text + "\x1b[0m"
}

// facts are names with values, a line each.
type facts struct {
	names  []string
	values []cell
}

// add adds one; without a value it is left out, and without a name it goes on with
// the one before.
func (f *facts) add(name string, value cell) {
	if value.text == "" {
		return
	}
	f.names, f.values = append(f.names, name), append(f.values, value)
}

func (f *facts) writeTo(w io.Writer, colours bool) error {
	width := 0
	for _, name := range f.names {
		width = max(width, utf8.RuneCountInString(name))
	}
	for i, name := range f.names {
		if name != "" {
			name += ":"
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width+1, name, paint(f.values[i], colours)); err != nil {
			return err
		}
	}
	return nil
}

// clean replaces what would steer a terminal: texts of tasks and failures come from
// anywhere. Line ends stay where lines are asked for.
func clean(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines:
			return r
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, s)
}
