package cli_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// watched reports two failures, the second 90 s later, of tasks that fall due
// after an hour, and returns a context that ends after three.
func (r *rig) watched() context.Context {
	r.t.Helper()
	r.policy("p", time.Hour, 2)
	for _, id := range []string{"a", "b"} {
		busy := client.HTTPFailure(503, "")
		busy.Message = "busy\x1b[2J\nagain"
		r.fails(client.Task{ID: id, Queue: "q", Policy: "p", Group: "g", Payload: []byte("to " + id), Attributes: map[string]string{"k": "v"}}, busy)
		r.pass(90 * time.Second)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	time.AfterFunc(3*time.Hour, cancel)
	return ctx
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(r *rig, ctx context.Context){
		"lines": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "other", "q").wants(0).golden("watch")
			r.state("a", client.StateScheduled)
		},
		"json": func(r *rig, ctx context.Context) {
			got := r.runUntil(ctx, "watch", "q", "-o", "json").wants(0)
			got.golden("watch-json")
			for line := range strings.Lines(got.out) {
				if !json.Valid([]byte(line)) {
					r.t.Errorf("no JSON: %s", line)
				}
			}
		},
		"yaml": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "q", "-o", "yaml").wants(0).golden("watch-yaml")
		},
		"limit": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "q", "--limit", "1").wants(0).golden("watch-limit")
		},
		"succeed": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "q", "--lease", "--outcome", "success", "-o", "json").wants(0).golden("watch-success-json")
			r.state("a", client.StateSucceeded)
			r.state("b", client.StateSucceeded)
		},
		"fail": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "q", "--lease", "--outcome", "fail", "--limit", "3", "--worker-id", "me").wants(0).golden("watch-fail")
			r.run("task", "get", "a", "-o", "wide").says("fail ", "  me\n")
		},
		"release": func(r *rig, ctx context.Context) {
			r.runUntil(ctx, "watch", "q", "--lease", "--outcome", "release", "--limit", "2", "--max-in-flight", "10").wants(0).golden("watch-release")
			r.state("a", client.StateScheduled)
		},
		"not begun": func(r *rig, ctx context.Context) {
			r.pass(2 * time.Hour)
			r.runUntil(ctx, "watch", "q", "--lease", "--outcome", "success", "--limit", "1", "--max-in-flight", "10").wants(0)
			r.counts("q", 1, 1, 0, 0)
		},
		"refused": func(r *rig, ctx context.Context) {
			r.run("watch", "a b").wants(2).says("queues[0]: ")
			r.run("watch", "a b", "--lease", "--outcome", "success").wants(2).says("queues[0]: ")
			r.onStream = func() error { return status.Error(codes.PermissionDenied, "not yours") }
			r.run("watch", "q").wants(4).says("retryd: not yours")
			r.run("watch", "q", "--lease", "--outcome", "success").wants(4).says("retryd: not yours")
			tries := 0
			r.onStream = func() error {
				if tries++; tries == 1 {
					return status.Error(codes.Unauthenticated, "expired")
				}
				return nil
			}
			r.runUntil(ctx, "watch", "q", "--lease", "--outcome", "release", "--limit", "1").wants(0).says("subscription ended: expired; again in ", "  released ")
			for event, args := range map[string][]string{"due": nil, "succeeded": {"--lease", "--outcome", "success"}} {
				tries = 0
				r.onStream = func() error {
					if tries++; tries < 3 {
						return status.Error(codes.Unavailable, "away")
					}
					return nil
				}
				r.runUntil(ctx, append([]string{"watch", "q", "--limit", "1"}, args...)...).wants(0).says("subscription ended: away; again in ", "  "+event+" ")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) { test(r, r.watched()) })
		})
	}
}

func TestWatchRefusesBadFlags(t *testing.T) {
	inBubble(t, func(r *rig) {
		for args, want := range map[string][]string{
			"":              {`retryd watch takes QUEUE..., and was given []`},
			"q --limit -1":  {`--limit is "-1": it must be 0, for no end, or more`},
			"q --exec true": {"--exec is given without --lease"},
			"q --max-in-flight 2 --worker-id w --drain-timeout 1s --lease-duration 9s": {
				"--max-in-flight is given without --lease", "--worker-id is", "--drain-timeout is", "--lease-duration is",
			},
			"q --lease":                                  {"say by --exec or --outcome what to do with them"},
			"q --lease --outcome win":                    {`--outcome is "win": it must be one of success, fail, release`},
			"q --lease --outcome fail --exec true":       {"--exec and --outcome both say what to do"},
			"q --lease --exec true --max-in-flight 1001": {`--max-in-flight is "1001": it must be from 1 to 1000`},
			"q --lease --exec true --max-in-flight 0 --lease-duration 1ms --drain-timeout -1s": {
				`--max-in-flight is "0"`, `--lease-duration is "1ms": it must be from 1s to 12h`, `--drain-timeout is "-1s": it must be 0s or more`,
			},
		} {
			r.run(append([]string{"watch"}, strings.Fields(args)...)...).wants(2).says(want...)
		}
	})
}

// parent is the trace context of the reports of soon.
const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// soon reports failures of tasks that are due again at once.
func (r *rig) soon(ids ...string) {
	r.t.Helper()
	r.policy("soon", time.Millisecond, 1)
	for _, id := range ids {
		ctx := metadata.AppendToOutgoingContext(r.t.Context(), "traceparent", parent, "tracestate", "k=v")
		task := client.Task{
			ID: id, Queue: "q", Policy: "soon", Group: "g", Payload: []byte("to " + id), Attributes: map[string]string{"k": "v"},
		}
		if _, err := r.ReportFailure(ctx, task, client.OutcomeFailure("late\x00")); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A command is told all of its task, and its exit code is the outcome.
func TestWatchRunsCommands(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.soon("good", "bad", "killed")
	script := `cat; for v in ID NAMESPACE QUEUE GROUP ATTEMPT DELIVERY GENERATION TRIGGER RETRIES_LEFT LAST_FAILURE ATTRIBUTES; do printenv TASK_$v; done; printenv TRACEPARENT TRACESTATE
		case $TASK_ID in bad) exit 7;; killed) kill -9 $$;; esac`
	got := r.run("watch", "q", "--lease", "--exec", script, "--limit", "3", "-o", "json").wants(0).
		says("to goodgood\ndefault\nq\ng\n2\n1\n1\nRETRY\n0\nlate\uFFFD\n{\"k\":\"v\"}\n" + parent + "\nk=v\n")
	if strings.Contains(got.out, "to good") || strings.Count(got.out, "\n") != 6 {
		t.Errorf("standard output is\n%s", got.out)
	}
	r.state("good", client.StateSucceeded)
	for id, outcome := range map[string]string{"bad": "exit-7", "killed": "killed"} {
		resp, err := r.Tasks().GetTask(t.Context(), &retryv1.GetTaskRequest{TaskId: id})
		if err != nil {
			t.Fatal(err)
		}
		attempts := resp.GetTask().GetAttempts()
		if got := attempts[len(attempts)-1].GetFailure(); got.GetOutcome() != outcome || got.GetMessage() != "" {
			t.Errorf("%s: the failure is %v", id, got)
		}
	}
}

// Ctrl-C gives commands time to finish; what does not is ended, with what it has
// started, and its attempt handed back.
func TestWatchDrains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timeout, script, says string
		state                 client.State
	}{
		{"1m", `echo > "$0.begun"; read x < "$0.go"`, "succeeded", client.StateSucceeded},
		{"0s", `sleep 600 > "$0.begun"; true`, "released", client.StateScheduled},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.soon("t")
			begun, goOn := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "go")
			for _, path := range []string{begun, goOn} {
				if err := syscall.Mkfifo(path, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			script := strings.NewReplacer(`"$0.begun"`, begun, `"$0.go"`, goOn).Replace(c.script)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan result, 1)
			go func() {
				ended <- r.runUntil(ctx, "watch", "q", "--lease", "--exec", script, "--drain-timeout", c.timeout)
			}()
			f, err := os.Open(begun) // which the command holds open
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			cancel()
			if c.state == client.StateSucceeded {
				if err := os.WriteFile(goOn, []byte("x\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			(<-ended).wants(0).says(c.says)
			r.state("t", c.state)
			if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(f); err != nil {
				t.Errorf("what the command has started goes on: %v", err)
			}
		})
	}
}
