package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

func TestDead(t *testing.T) {
	t.Parallel()
	eachInScene(t, map[string]func(*rig){
		"list": func(r *rig) {
			r.run("dead", "list").wants(0).golden("dead-list")
			r.run("dead", "list", "-o", "wide").wants(0).golden("dead-list-wide")
			r.run("dead", "list", "-o", "yaml", "--limit", "1").wants(0).golden("dead-list-yaml")
			r.run("dead", "list", "--queue", "charges").wants(0).says("no such dead letters")
			r.run("dead", "list", "--condition", "customer").wants(2).says("unknown flag: --condition")
		},
		"groups": func(r *rig) {
			r.run("dead", "groups").wants(0).golden("dead-groups")
			r.run("dead", "groups", "-o", "json", "--limit", "1").wants(0).golden("dead-groups-json")
			r.run("dead", "groups", "--queue", "charges").wants(0).says("no dead letters")
		},
		"replay": func(r *rig) {
			group := []string{"dead", "replay", "--queue", "hooks", "--fingerprint", "6df75a7f8433d797"}
			r.run(append(group, "--dry-run")...).wants(0).golden("dead-replay-dry-run")
			r.counts("hooks", 1, 0, 0, 3)
			r.run(append(group, "--rate", "0.1")...).wants(0).golden("dead-replay")
			r.counts("hooks", 3, 1, 0, 1)
			r.run("dead", "replay", "--all", "-o", "json").wants(0).golden("dead-replay-json")
			r.run("dead", "replay", "--all", "-o", "yaml").wants(0).golden("dead-replay-none")
			r.counts("hooks", 4, 2, 0, 0)
		},
		"replay needs to be told which": func(r *rig) {
			r.run("dead", "replay").wants(2).says("say which are meant, such as by --queue or --fingerprint; --all means all of the namespace")
			r.run("dead", "replay", "--rate", "5", "--dry-run").wants(2).says("say which are meant")
			r.run("dead", "replay", "--all", "--queue", "hooks", "--policy", "p").wants(2).says("--all and --queue, --policy contradict each other")
			r.counts("hooks", 1, 0, 0, 3)
		},
		"discard": func(r *rig) {
			group := []string{"dead", "discard", "--fingerprint", "6df75a7f8433d797"}
			r.run(append(group, "--dry-run")...).wants(0).says("2 dead letters would be discarded")
			r.run(group...).wants(2).says("Discard 2 dead letters for good?", "give --yes, or see by --dry-run")
			r.inTerminal, r.input = true, "no\n"
			r.run(group...).wants(1).says("Discard 2 dead letters for good? [y/N]", "nothing was done")
			r.counts("hooks", 1, 0, 0, 3)
			r.input = "yes\n"
			r.run(group...).wants(0).says("2 dead letters discarded")
			r.counts("hooks", 1, 0, 0, 1)
			r.run(group...).wants(0).says("no such dead letters")
			r.run("dead", "discard", "--all", "--yes", "-o", "json").wants(0).says(`"moved": 1`)
			r.run("dead", "discard", "--yes").wants(2).says("say which are meant")
			r.state("order-2", client.StateDiscarded)
			r.state("charge-1", client.StateHeld)
		},
		"bad flags": func(r *rig) {
			for _, rate := range []string{"0", "-1", "0.0001", "1000001", "NaN", "fast", "1x"} {
				r.run("dead", "replay", "--all", "--rate", rate).wants(2).
					says(`invalid argument "` + rate + `" for "--rate" flag: it must be a number from 0.001 to 1000000`)
			}
			r.run("dead", "replay", "--fingerprint", "zz").wants(2).says("fingerprint: ")
			r.run("dead", "replay", "order-2").wants(2).says(`retryd dead replay takes no arguments, and was given ["order-2"]`)
			r.run("dead", "discard", "--reason", "old").wants(2).says(`invalid argument "old" for "--reason" flag: it must be one of`)
		},
	})
}

func TestHeld(t *testing.T) {
	t.Parallel()
	eachInScene(t, map[string]func(*rig){
		"list": func(r *rig) {
			r.run("held", "list").wants(0).golden("held-list")
			r.run("held", "list", "--condition", "other").wants(0).says("no such held tasks")
		},
		"release": func(r *rig) {
			r.run("held", "release").wants(2)
			r.run("held", "release", "customer", "--dry-run", "-o", "json").wants(0).golden("held-release-dry-run-json")
			r.counts("charges", 0, 0, 1, 0)
			r.run("held", "release", "customer", "--queue", "other").wants(0).says("0 held tasks released")
			r.fails(client.Task{ID: "charge-2", Queue: "charges", Policy: "webhook"}, client.HTTPFailure(402, ""))
			r.run("held", "release", "customer", "--rate", "0.1").wants(0).says("2 held tasks released")
			r.counts("charges", 2, 1, 0, 0)
			r.run("held", "release", "a b").wants(2).says("condition: ")
		},
		"discard": func(r *rig) {
			r.run("held", "discard", "customer", "--dry-run").wants(0).says("1 held task would be discarded")
			r.run("held", "discard", "customer", "--yes").wants(0).says("1 held task discarded")
			r.state("charge-1", client.StateDiscarded)
			r.counts("hooks", 1, 0, 0, 3)
		},
	})
}

// TestDeadReplayOfThousands replays 3,000 dead letters in pages, at a rate: it is
// interrupted after the first page, and another goes on.
func TestDeadReplayOfThousands(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("p", time.Hour, 3)
		r.dead("q", 3000)
		r.errTerminal = true
		ctx, cancel := context.WithCancel(r.t.Context())
		time.AfterFunc(5*time.Second, cancel)
		got := r.runUntil(ctx, "dead", "replay", "--queue", "q", "--rate", "50").wants(130).
			says("replayed 1000 of 3000",
				"cut short; up to 2000 are left. Run the same command to go on: it finds only what is left, and replays nothing twice",
				"retryd: interrupted")
		if got.out != "1000 dead letters replayed\n" {
			r.t.Errorf("it says %q", got.out)
		}
		r.counts("q", 1000, 251, 0, 2000)
		began := time.Now()
		r.run("dead", "replay", "--queue", "q", "--rate", "50").wants(0).says("replayed 1000 of 2000", "2000 dead letters replayed")
		// The last page is asked for 10 s before its first is due.
		if took := time.Since(began); took != 10*time.Second {
			r.t.Errorf("it took %s", took)
		}
		r.counts("q", 3000, 751+501, 0, 0)
	})
}

// TestBulkIsCutShort ends runs by Ctrl-C in the middle of a call, and by a server
// that goes away for longer than patience.
func TestBulkIsCutShort(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("p", time.Hour, 3)
		r.dead("q", 2500)
		ctx, cancel := context.WithCancel(r.t.Context())
		r.onCall = func(method string) error {
			if strings.HasSuffix(method, "DiscardTasks") {
				cancel()
			}
			return nil
		}
		got := r.runUntil(ctx, "dead", "discard", "--queue", "q", "--yes", "-o", "json").wants(130).
			says("cut short; up to 1500 are left", "discards nothing twice")
		if want := "{\n  \"dryRun\": false,\n  \"moved\": 1000,\n  \"remaining\": 1500\n}\n"; got.out != want {
			r.t.Errorf("it says %s", got.out)
		}
		r.counts("q", 0, 0, 0, 1500)

		calls := 0
		r.onCall = func(string) error {
			if calls++; calls > 1 {
				return status.Error(codes.Unavailable, "gone")
			}
			return nil
		}
		r.run("dead", "replay", "--queue", "q").wants(5).says("1000 dead letters replayed\n", "up to 500 are left", "retryd: gone")
		r.counts("q", 1000, 1000, 0, 500)
		r.onCall = func(string) error { return status.Error(codes.Unavailable, "gone") }
		if got := r.run("dead", "replay", "--queue", "q").wants(5); got.out != "" || strings.Contains(got.err, "cut short") {
			r.t.Errorf("it says %q, %q", got.out, got.err)
		}
	})
}
