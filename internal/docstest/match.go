package docstest

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var (
	moment   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	variable = regexp.MustCompile(`^"(leaseToken|etag|nextPageToken)": "([^"]*)"(,?)$`)
	span     = regexp.MustCompile(`^"(dueIn|oldestDueAge|sincePrevious)": "[0-9.]+s"(,?)$`)
)

// relative is a time as seen from now, as the command line writes it.
var relative = regexp.MustCompile(`\((?:now|in [^)]*|[^)]* ago)\)|\b[0-9.]+(?:ms|[smhd])(?: [0-9]+[smh])? ago\b`)

// near is how far from now a time may lie that is taken for one that follows
// from when the command was run.
const near = 2 * time.Hour

// elision is the printed line that stands for any lines.
const elision = "..."

// Match compares what is printed with what was answered, as the package's
// comment says. It returns the printed values that stand for others, with those,
// and how many lines of the answer it has used.
func Match(printed, answered string, now time.Time) (values map[string]string, used int, err error) {
	m := matcher{now: now, values: make(map[string]string)}
	want, got := lines(printed), lines(answered)
	used, err = m.lines(want, got)
	return m.values, used, err
}

type matcher struct {
	now    time.Time
	values map[string]string
}

// lines matches all of want with as much of got as that takes; after a last
// elision, with all of it.
func (m *matcher) lines(want, got []string) (used int, err error) {
	for i, w := range want {
		if w == elision {
			after := want[i+1:]
			if len(after) == 0 {
				return len(got), nil
			}
			for skip := used; skip < len(got); skip++ {
				if !m.line(after[0], got[skip]) {
					continue
				}
				if n, err := m.lines(after, got[skip:]); err == nil {
					return skip + n, nil
				}
			}
			return 0, fmt.Errorf("nowhere after line %d of the answer:\n    printed: %s", used, after[0])
		}
		if used == len(got) {
			return 0, fmt.Errorf("the answer ends before\n    printed: %s", w)
		}
		if !m.line(w, got[used]) {
			return 0, fmt.Errorf("line %d of the answer:\n    printed: %s\n   answered: %s", used+1, w, got[used])
		}
		used++
	}
	return used, nil
}

func (m *matcher) line(want, got string) bool {
	if w, g := variable.FindStringSubmatch(want), variable.FindStringSubmatch(got); w != nil && g != nil && w[1] == g[1] && w[3] == g[3] {
		if bound, ok := m.values[w[2]]; ok && bound != g[2] {
			return false
		}
		m.values[w[2]] = g[2]
		return true
	}
	if w, g := span.FindStringSubmatch(want), span.FindStringSubmatch(got); w != nil && g != nil && w[1] == g[1] && w[2] == g[2] {
		return true
	}
	want, got = relative.ReplaceAllString(want, "<relative>"), relative.ReplaceAllString(got, "<relative>")
	return m.masked(want, got) == m.masked(got, got)
}

// masked hides those times of a line that depend on now, as the line got says.
func (m *matcher) masked(line, got string) string {
	times := moment.FindAllString(got, -1)
	i := -1
	return moment.ReplaceAllStringFunc(line, func(s string) string {
		i++
		if i >= len(times) {
			return s
		}
		if t, err := time.Parse(time.RFC3339Nano, times[i]); err == nil && t.Sub(m.now).Abs() < near {
			return "<time>"
		}
		return s
	})
}

// lines are those of a text that are not empty, with single spaces.
func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, strings.Join(words, " "))
		}
	}
	return out
}
