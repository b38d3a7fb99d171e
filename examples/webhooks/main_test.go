package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachEventEndsAsExpected(t *testing.T) {
	t.Parallel()
	own, err := startRetryd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.stop(); err != nil {
			t.Error(err)
		}
	}()
	for name, addr := range map[string]string{
		"with a server of its own": "",
		"with a running one":       own.addr,
		"and with that again":      own.addr,
	} {
		var out bytes.Buffer
		if err := run(t.Context(), &out, addr, false); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
		for _, want := range []string{
			"busy         attempt 1  HTTP 429 Too Many Requests -> attempt 2 in 1",
			"slow         attempt 1  timeout -> attempt 2 in ",
			"refused      attempt 1  connection refused -> attempt 2 in ",
			"broken       attempt 4  HTTP 500 Internal Server Error -> dead letter: RETRIES_EXHAUSTED",
			`gone         attempt 1    because Rule 1, "gone", matched`,
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not told in\n%s", name, want, out.String())
			}
		}
	}
}

func TestAnUnexpectedEndIsAnError(t *testing.T) {
	t.Parallel()
	evs := []event{{name: "a", run: "r", want: delivered()}, {name: "b", run: "r", want: delivered()}}
	var out bytes.Buffer
	tl := newTimeline(&out, evs)
	tl.end("a-r", end{ending: dead("DEADLINE"), attempts: 2})
	err := tl.summary()
	if err == nil || !strings.Contains(err.Error(), "a ended dead letter, DEADLINE, not delivered") ||
		!strings.Contains(err.Error(), "b ended not at all") {
		t.Errorf("error is %v", err)
	}
}
