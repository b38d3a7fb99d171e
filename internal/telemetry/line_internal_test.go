package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"
)

// FuzzLine holds a line to what slog's handlers write. JSON may escape a character in
// another way, of which there are several.
func FuzzLine(f *testing.F) {
	at := time.Date(2026, 11, 22, 17, 29, 12, 467_000_000, time.UTC).UnixNano()
	for _, s := range []string{"plain", "", "with space", `quo"te`, `back\slash`, "a=b", "new\nline", "tab\t", "é", "\x7f", "\xff", "\u2028", "<&>", `"<&>`, "\b", "\u00a0", "\ufffd", "日本"} {
		f.Add(s, int64(-7), at)
	}
	f.Add("zone", int64(1), int64(1_700_000_000_120_000_001))
	f.Fuzz(func(t *testing.T, text string, n, nanos int64) {
		at := time.Unix(0, nanos)
		if at.Year() < 1 || at.Year() > 9999 {
			t.Skip("not a time that has such a form")
		}
		var out bytes.Buffer
		for _, h := range []struct {
			json    bool
			handler slog.Handler
		}{{false, slog.NewTextHandler(&out, nil)}, {true, slog.NewJSONHandler(&out, nil)}} {
			out.Reset()
			r := slog.NewRecord(at, slog.LevelInfo, text, 0)
			r.AddAttrs(slog.String("task", text), slog.Int64("attempt", n), slog.String("last", "x"))
			if err := h.handler.Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			l := line{json: h.json}
			l.begin(at, text)
			l.str("task", text)
			l.num("attempt", n)
			l.str("last", "x")
			got := string(l.end())
			if got == out.String() || (h.json && sameJSON(t, got, out.String())) {
				continue
			}
			t.Errorf("line\n%q, want\n%q", got, out.String())
		}
	})
}

// sameJSON says whether two lines tell the same, of which neither has another line in it.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var of [2]map[string]any
	for i, line := range []string{a, b} {
		if err := json.Unmarshal([]byte(line), &of[i]); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if strings.Count(line, "\n") != 1 {
			return false
		}
	}
	return maps.Equal(of[0], of[1])
}
