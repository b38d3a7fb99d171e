package mistakes_test

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/retryd/retryd/internal/mistakes"
)

func TestMistakesStandInTheOrderOfTheirLines(t *testing.T) {
	t.Parallel()
	l := mistakes.In("a.yaml")
	if err := l.Err(); err != nil {
		t.Errorf("none is %v", err)
	}
	sentinel := errors.New("third")
	l.Add(7, "it is %w", sentinel)
	l.Add(2, "first of line %d", 2)
	l.Add(2, "second")
	l.Add(0, "the file")
	want := "a.yaml: the file\na.yaml:2: first of line 2\na.yaml:2: second\na.yaml:7: it is third"
	if err := l.Err(); err == nil || err.Error() != want || !errors.Is(err, sentinel) {
		t.Errorf("it is\n%v\nwant\n%s", err, want)
	}
}

func TestNoMoreAreToldThanAnybodyReads(t *testing.T) {
	t.Parallel()
	many := func(file string, n int) error {
		l := mistakes.In(file)
		for i := range n {
			l.Add(i+1, "wrong")
		}
		return l.Err()
	}
	for _, c := range []struct {
		name  string
		err   error
		lines int
		last  string
	}{
		{"as many as are shown", many("a", 20), 20, "a:20: wrong"},
		{"more", many("a", 1000), 21, "a: and 980 more"},
		{"of several files", mistakes.Join("dir", many("a", 5), nil, many("b", 30), errors.New("c")), 21, "dir: and 16 more"},
		{"few of several files", mistakes.Join("dir", many("a", 5), nil, errors.New("c")), 6, "c"},
	} {
		lines := strings.Split(c.err.Error(), "\n")
		if len(lines) != c.lines || lines[len(lines)-1] != c.last {
			t.Errorf("%s: %d lines, want %d and at the end %q:\n%v", c.name, len(lines), c.lines, c.last, c.err)
		}
	}
	if err := mistakes.Join("dir", nil, many("a", 0)); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("id: a\nmaxRetries: 5\nrules: &r\n- name: b\n- match:\n    codes:\n    - x\nagain: *r\n"), &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"": 1, "id": 1, "max_retries": 2, "maxRetries": 2, "schedule": 1, "rules": 3, "rules[0]": 4, "rules[0].action": 4,
		"rules[1].match": 5, "rules[1].match.codes[0]": 7, "rules[1].match.codes[9].x": 6, "rules[7]": 3, "again[1].match.codes": 6, "id.x": 1,
	} {
		if got := mistakes.Line(doc.Content[0], path); got != want {
			t.Errorf("%s is on line %d, want %d", path, got, want)
		}
	}
}
