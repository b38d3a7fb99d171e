package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
)

func TestTask(t *testing.T) {
	t.Parallel()
	eachInScene(t, map[string]func(*rig){
		"get": func(r *rig) {
			r.run("task", "get", "order-1").wants(0).golden("task-get")
			r.run("task", "get", "order-1", "-o", "wide").wants(0).golden("task-get-wide")
			r.run("task", "get", "order-1", "-o", "json").wants(0).golden("task-get-json")
			r.run("task", "get", "order-1", "-o", "yaml").wants(0).golden("task-get-yaml")
		},
		"get in other states": func(r *rig) {
			r.run("task", "get", "order-2").wants(0).golden("task-get-dead")
			r.run("task", "get", "charge-1").wants(0).golden("task-get-held")
			r.run("task", "get", "order-0").wants(0).golden("task-get-succeeded")
			r.run("task", "get", "nobody").wants(3).golden("task-get-none")
		},
		"payload": func(r *rig) {
			path := filepath.Join(r.t.TempDir(), "payload")
			r.run("task", "get", "order-1", "--payload-out", path).wants(0).says("Payload:", "20 bytes")
			if got, err := os.ReadFile(path); err != nil || string(got) != `{"order": "order-1"}` {
				r.t.Errorf("payload is %q, %v", got, err)
			}
			if got := r.run("task", "get", "order-1", "--payload-out", "-").wants(0); got.out != `{"order": "order-1"}` {
				r.t.Errorf("payload is %q", got.out)
			}
			r.run("task", "get", "order-1", "--payload", "base64").says("base64 eyJvcmRlciI6ICJvcmRlci0xIn0=\n")
			r.run("task", "get", "order-1", "--payload", "none").says(" 20 bytes\n")
			r.run("task", "get", "order-1", "--payload", "gzip").wants(2).says(`--payload is "gzip": it must be one of auto, text, base64, none`)
			r.run("task", "get", "order-1", "--payload-out", filepath.Join(path, "below")).wants(1).says("--payload-out: ")
		},
		"list": func(r *rig) {
			r.run("task", "list").wants(0).golden("task-list")
			r.run("task", "list", "-o", "wide").wants(0).golden("task-list-wide")
			r.run("task", "list", "--state", "dead", "--limit", "1", "-o", "json").wants(0).golden("task-list-json")
			r.run("task", "list", "--limit", "2").wants(0).says("these are the first 2; --limit 0 shows all")
			r.run("task", "list", "--group", "nobody").wants(0).says("no such tasks")
			if got := r.run("task", "list", "--group", "nobody", "-o", "json"); got.out != "[]\n" {
				r.t.Errorf("an empty list is %q", got.out)
			}
			for args, want := range map[[2]string]string{
				{"--queue", "charges"}: "charge-1", {"--condition", "customer"}: "charge-1",
				{"--reason", "non-retryable"}: "order-2", {"--policy", "webhook"}: "order-1", {"--state", "HELD"}: "charge-1",
			} {
				r.run("task", "list", args[0], args[1]).wants(0).says(want)
			}
		},
		"retry now": func(r *rig) {
			r.run("task", "retry-now", "order-1", "order-2").wants(1).golden("task-retry-now")
			r.counts("hooks", 1, 1, 0, 3)
		},
		"reschedule": func(r *rig) {
			r.run("task", "reschedule", "order-1", "--in", "2h").wants(0).says("order-1: attempt 3 is due 2000-01-01T02:01:02.000Z (in 2h)")
			r.run("task", "reschedule", "order-1", "--at", "2001-01-01T01:00:00+01:00", "-o", "json").wants(0).golden("task-reschedule-json")
			for args, want := range map[[2]string]string{
				{"--at", "noon"}: `invalid argument "noon" for "--at" flag: it must be a date and time with its zone, such as`,
				{"--in", "-1s"}:  `--in is "-1s": it must be 0s or more`,
				{"--in", "soon"}: `invalid argument "soon" for "--in" flag`,
			} {
				r.run("task", "reschedule", "order-1", args[0], args[1]).wants(2).says(want)
			}
			r.run("task", "reschedule", "order-1").wants(2).says("say when: by --at or by --in, one of them")
			r.run("task", "reschedule", "order-1", "--in", "1h", "--at", "2001-01-01T00:00:00Z").wants(2).says("say when")
		},
		"cancel": func(r *rig) {
			r.run("task", "cancel", "order-1").wants(2).says(`Cancel task "order-1" for good?`, "give --yes, or see by --dry-run")
			r.run("task", "cancel", "order-1", "order-2", "nobody", "--dry-run").wants(1).golden("task-cancel-dry-run")
			r.state("order-1", client.StateScheduled)
			r.inTerminal, r.input = true, "n\n"
			r.run("task", "cancel", "order-1").wants(1).says("nothing was done")
			r.state("order-1", client.StateScheduled)
			r.input = "y\n"
			r.run("task", "cancel", "order-1", "charge-1").wants(0).says("Cancel 2 tasks for good? [y/N]", "order-1: cancelled\ncharge-1: cancelled\n")
			r.state("order-1", client.StateCancelled)
			r.run("task", "cancel", "order-1", "--yes").wants(0).says("order-1: cancelled")
			r.run("task", "cancel", "order-2", "--yes").wants(6).says("WRONG_STATE")
		},
		"by standard input": func(r *rig) {
			r.input = "order-2\n\n order-3 \nnobody"
			got := r.run("task", "replay", "-", "-o", "json").wants(1).says("1 of 3 tasks failed")
			var all []struct {
				TaskID string
				Done   bool
				Task   struct{ State, Payload string }
				Error  struct{ Code, Reason string }
			}
			if err := json.Unmarshal([]byte(got.out), &all); err != nil || len(all) != 3 {
				r.t.Fatalf("%v:\n%s", err, got.out)
			}
			if all[1].TaskID != "order-3" || !all[1].Done || all[1].Task.State != "STATE_SCHEDULED" || all[1].Task.Payload != "" {
				r.t.Errorf("of one: %+v", all[1])
			}
			if all[2].TaskID != "nobody" || all[2].Done || all[2].Error.Code != "NOT_FOUND" || all[2].Error.Reason != "TASK_NOT_FOUND" {
				r.t.Errorf("of another: %+v", all[2])
			}
			r.input = "nobody\nnothing"
			r.run("task", "replay", "-").wants(3).says("nobody: ", "nothing: ", "2 of 2 tasks failed")
			r.fails(client.Task{ID: "-", Queue: "hooks", Policy: "webhook"}, client.Permanent(errors.New("no such user")))
			r.input = "-\n"
			r.run("task", "replay", "-").wants(0).says("-: attempt ")
			r.input = "\n"
			r.run("task", "replay", "-").wants(2).says("there are no ids on standard input")
			r.run("task", "replay", "-", "order-1").wants(2).says("goes with no others")
		},
		"discard": func(r *rig) {
			r.run("task", "discard", "order-2", "order-1", "--yes").wants(1).says("order-2: discarded", "order-1: ", "WRONG_STATE", "1 of 2 tasks failed")
			r.state("order-2", client.StateDiscarded)
			r.run("task", "discard", "order-3", "--dry-run").wants(0).says("order-3: would be discarded, is DEAD")
			r.run("task", "discard", "order-1", "--dry-run").wants(6).says("it is SCHEDULED: discard takes HELD, DEAD tasks")
			r.state("order-3", client.StateDead)
		},
		"interrupted": func(r *rig) {
			ctx, cancel := context.WithCancel(r.t.Context())
			r.onCall = func(string) error { cancel(); return nil }
			r.runUntil(ctx, "task", "replay", "order-2", "order-3", "order-4").wants(130).
				says("order-2: attempt 2 is due", "2 of 3 tasks were left as they are, from order-3 on", "retryd: interrupted")
			r.counts("hooks", 2, 1, 0, 2)
		},
		"bad flags": func(r *rig) {
			r.run("task", "list", "--state", "asleep").wants(2).
				says(`invalid argument "asleep" for "--state" flag: it must be one of SCHEDULED, LEASED, HELD, DEAD`)
			r.run("task", "list", "--state", "succeeded").wants(2).says("it must be one of SCHEDULED, LEASED, HELD, DEAD")
			r.run("task", "list", "--reason", "bad").wants(2).says(`invalid argument "bad" for "--reason" flag: it must be one of RETRY_SCHEDULED`)
			r.run("task", "list", "--limit", "-1").wants(2).says(`--limit is "-1": it must be 0, for all, or more`)
			r.run("task", "list", "--queue", "a b").wants(2).says("queue: ")
			r.run("task", "list", "--state", "held", "--fingerprint", "0123456789abcdef").wants(2).says("fingerprint: ")
			r.run("task", "get").wants(2)
			r.run("task", "cancel").wants(2)
			r.run("task", "fly").wants(2).says(`task has no command "fly"; it has cancel, discard, get, list, replay, reschedule, retry-now`)
		},
	})
}

// A history of more attempts than are kept, over replays, is told as what it is.
func TestTaskGetOfALongHistory(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("p", time.Millisecond, 1000)
		for range 130 {
			r.fails(client.Task{ID: "t", Queue: "q", Policy: "p", Payload: []byte{0, 1, 2}}, client.OutcomeFailure("busy\x1b[2J"))
			r.pass(time.Second)
		}
		r.fails(client.Task{ID: "t"}, client.Permanent(client.OutcomeFailure("no")))
		if _, err := r.ReportSuccess(r.t.Context(), client.Task{ID: "t"}); err != nil {
			r.t.Fatal(err)
		}
		r.run("task", "get", "t", "-o", "wide").wants(0).golden("task-get-long")
		r.run("task", "get", "t").wants(0).says("Attempt 131:", "the last 5 decisions are explained; -o wide explains all")
	})
}
