package cli

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Nanosecond: "1ms", 999 * time.Millisecond: "999ms", time.Second: "1s", 1500 * time.Millisecond: "1.5s",
		9999 * time.Millisecond: "9.9s", 59900 * time.Millisecond: "59s", 60 * time.Second: "1m", 200 * time.Second: "3m 20s",
		2*time.Hour + 5*time.Minute + 59*time.Second: "2h 5m", 97 * time.Hour: "4d 1h", -90 * time.Second: "-1m 30s",
		math.MaxInt64: "106751d 23h", math.MinInt64: "-106751d 23h",
	} {
		if got := span(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
	now := time.Unix(1000, 0)
	for offset, want := range map[time.Duration]string{
		200 * time.Second: "in 3m 20s", 0: "now", -time.Microsecond: "now", -5 * time.Minute: "5m ago",
	} {
		if got := relative(now.Add(offset), now); got != want {
			t.Errorf("%s from now is %q, want %q", offset, got, want)
		}
	}
}

func TestTableIsAlignedWithAndWithoutColours(t *testing.T) {
	t.Parallel()
	table := newTable("id", "count#", "more+", "note")
	table.add(text("größe"), number(5), text("w"), styled(bad, "x\ty\x1b[2J"))
	table.add(text("b"), number(1234), text(""), text(""))
	for _, c := range []struct {
		wide, colours bool
		want          string
	}{
		{false, false, "ID     COUNT  NOTE\ngröße      5  x y\uFFFD[2J\nb       1234\n"},
		{true, false, "ID     COUNT  MORE  NOTE\ngröße      5  w     x y\uFFFD[2J\nb       1234\n"},
		{false, true, "\x1b[1mID\x1b[0m     \x1b[1mCOUNT\x1b[0m  \x1b[1mNOTE\x1b[0m\ngröße      5  \x1b[31mx y\uFFFD[2J\x1b[0m\nb       1234\n"},
	} {
		var b bytes.Buffer
		if err := table.writeTo(&b, c.wide, c.colours); err != nil || b.String() != c.want {
			t.Errorf("wide %v, colours %v: %v\n%q, want\n%q", c.wide, c.colours, err, b.String(), c.want)
		}
	}
}

// In YAML all names are like those of messages, which stand beside them.
func TestNamesInYAMLAreThoseOfProtos(t *testing.T) {
	t.Parallel()
	task, err := marshal(&retryv1.Task{TaskId: "a", Attempt: 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	for want, v := range map[string]any{
		"- task_id: a\n  done: true\n  task:\n    task_id: a\n    attempt: 3\n": []acted{{TaskID: "a", Done: true, Task: task}},
		"dry_run: true\nmoved: 0\nremaining: 0\n":                               bulkResult{DryRun: true},
		"event: due\ntime: \"\"\ntask_id: a\nqueue: q\nattempt: 1\ngeneration: 1\ntrigger: retry\ndue_time: \"\"\nretries_left: 2\nattributes:\n  taskId: kept\n": &event{
			Event: "due", TaskID: "a", Queue: "q", Attempt: 1, Generation: 1, Trigger: "retry", RetriesLeft: 2, Attributes: map[string]string{"taskId": "kept"},
		},
	} {
		if got, err := yamlOfValue(v); err != nil || string(got) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ terminal, noColour, want bool }{
		{true, false, true}, {true, true, false}, {false, false, false},
	} {
		s := &session{env: &Env{OutTerminal: c.terminal, Lookup: func(name string) (string, bool) { return "", c.noColour && name == "NO_COLOR" }}}
		if got := s.colours(); got != c.want {
			t.Errorf("%+v: colours are %v", c, got)
		}
	}
}

// schedules are of every kind that a picture must bear.
func schedules() map[string]*schedule {
	many := &schedule{policy: "many", failures: "timeout", length: 1000 * time.Hour}
	for i := range 1000 {
		at := time.Duration(i+1) * time.Hour
		many.retries = append(many.retries, plannedRetry{attempt: int32(i + 2), at: at, earliest: at - time.Minute, latest: at + time.Minute, after: time.Hour}) //nolint:gosec // at most 1,001
	}
	return map[string]*schedule{
		"many":  many,
		"none":  newSchedule("none", "HTTP 410", nil),
		"now":   {policy: "now", failures: "x", length: time.Millisecond, retries: []plannedRetry{{attempt: 2}}},
		"years": {policy: "years", failures: "x", length: 100 * 365 * day, retries: []plannedRetry{{attempt: 2, at: time.Millisecond, latest: time.Millisecond}, {attempt: 3, at: 100 * 365 * day, earliest: day, latest: 100 * 365 * day}}},
		"text":  {policy: "<script>&\"\x00", failures: strings.Repeat("<b>", 100), length: time.Second, end: &retryv1.Decision{HoldCondition: "</svg>", Action: retryv1.Action_ACTION_HOLD}},
	}
}

func TestPicturesAreWhole(t *testing.T) {
	t.Parallel()
	for name, p := range schedules() {
		var b bytes.Buffer
		if err := p.writeSVG(&b); err != nil {
			t.Fatal(err)
		}
		decoder, circles := xml.NewDecoder(&b), 0
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if start, ok := token.(xml.StartElement); ok {
				if start.Name.Local == "script" || start.Name.Local == "b" {
					t.Errorf("%s: a text has become the element %s", name, start.Name.Local)
				}
				if start.Name.Local == "circle" {
					circles++
				}
			}
		}
		if want := min(len(p.retries), chartRows); circles != want {
			t.Errorf("%s: %d attempts are drawn, want %d", name, circles, want)
		}
	}
}

func TestChartsFitTheTerminal(t *testing.T) {
	t.Parallel()
	for name, p := range schedules() {
		if len(p.retries) == 0 {
			continue
		}
		for _, width := range []int{0, 10, 80, 500} {
			var b bytes.Buffer
			if err := p.writeChart(&b, width, false); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > max(width, 80, 40) {
					t.Errorf("%s: a line of %d in a terminal of %d: %q", name, n, width, line)
				}
			}
			if got, want := strings.Count(b.String(), "●"), min(len(p.retries), chartRows); got != want {
				t.Errorf("%s: %d attempts are drawn, want %d:\n%s", name, got, want, &b)
			}
		}
	}
}
