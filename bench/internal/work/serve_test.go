package work_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/bench/internal/work"
)

func TestServeWaitsForItsOrders(t *testing.T) {
	t.Parallel()
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	var got work.Job
	f := &fake{}
	go func() {
		ended <- work.Serve(t.Context(), in, out, func(_ context.Context, job *work.Job) (work.Driver, error) {
			got = *job
			return f, nil
		})
	}()
	lines := bufio.NewReader(answers)
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(orders, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() work.Message {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		m, err := work.ParseMessage(line)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	say(`{"system": "fake", "kind": "fill", "tasks": 20, "payload": 64, "limit_ns": 1000}` + "\n")
	if m := hear(); !m.Ready || len(f.tasks) != 0 {
		t.Errorf("%+v, %d tasks put before the beginning", m, len(f.tasks))
	}
	if got.System != "fake" || got.Tasks != 20 || got.Limit != time.Microsecond {
		t.Errorf("job %+v", got)
	}
	say("go\n")
	if m := hear(); m.Result == nil || m.Result.Tasks != 20 {
		t.Errorf("%+v", m)
	}
	select {
	case err := <-ended:
		t.Errorf("it ended before it was told to, error %v", err)
	default:
	}
	if err := orders.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeTellsItsErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection refused")
	for name, tt := range map[string]struct {
		open work.Open
		kind string
		want string
	}{
		"no connection": {func(context.Context, *work.Job) (work.Driver, error) { return nil, broken }, "fill", "connection refused"},
		"preparation": {func(context.Context, *work.Job) (work.Driver, error) {
			return &fake{put: func([]work.Task) error { return broken }}, nil
		}, "drain", "prepare: connection refused"},
		"work": {func(context.Context, *work.Job) (work.Driver, error) {
			return &fake{put: func([]work.Task) error { return broken }}, nil
		}, "fill", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			in := strings.NewReader(`{"kind": "` + tt.kind + `", "tasks": 1}` + "\ngo\n")
			if err := work.Serve(t.Context(), in, &out, tt.open); err != nil {
				t.Fatal(err)
			}
			said := strings.TrimSpace(out.String())
			last := said[strings.LastIndexByte(said, '\n')+1:]
			if m, err := work.ParseMessage([]byte(last)); err != nil || m.Error != tt.want {
				t.Errorf("said %q, error %v", last, err)
			}
		})
	}
}
