package cli_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/client"
)

func TestQueue(t *testing.T) {
	t.Parallel()
	eachInScene(t, map[string]func(*rig){
		"list": func(r *rig) {
			r.run("queue", "pause", "charges", "--for", "90m").wants(0).
				says("charges is paused until 2000-01-01T01:31:02.000Z (in 1h 30m); 0 due, 0 leased")
			r.pass(2 * time.Hour)
			r.run("queue", "list").wants(0).golden("queue-list")
			r.run("queue", "pause", "hooks").wants(0).says("hooks is paused until it is resumed; 1 due")
			r.run("queue", "pause", "charges", "--until", "2000-01-02T00:00:00Z").wants(0)
			r.run("queue", "list", "-o", "wide").wants(0).golden("queue-list-wide")
			r.run("queue", "list", "--limit", "1", "-o", "json").wants(0).golden("queue-list-json")
		},
		"stats": func(r *rig) {
			r.run("queue", "stats", "hooks").wants(0).golden("queue-stats")
			r.run("queue", "stats", "charges", "-o", "yaml").wants(0).golden("queue-stats-yaml")
			r.fails(client.Task{ID: "own", Policy: "webhook"}, client.HTTPFailure(422, ""))
			r.run("queue", "stats").wants(0).says("Queue:      none: caller-driven tasks", "Dead:       1")
			r.run("queue", "stats", "none").wants(3).says("QUEUE_NOT_FOUND", "see what there is: retryd queue list")
		},
		"pause": func(r *rig) {
			r.run("queue", "pause", "hooks", "-o", "json").wants(0).says(`"paused": true`)
			r.run("queue", "resume", "hooks").wants(0).says("hooks hands out attempts; 0 due, 0 leased")
			r.run("queue", "resume", "none").wants(3)
			for args, want := range map[[2]string]string{
				{"--for", "0s"}:                        `--for is "0s": it must be more than 0s`,
				{"--for", "a while"}:                   `invalid argument "a while" for "--for" flag`,
				{"--until", "tomorrow"}:                `invalid argument "tomorrow" for "--until" flag: it must be a date and time with its zone`,
				{"--until", "1999-01-01T00:00:00Z"}:    "until: ",
				{"--until=2001-01-01T00:00:00Z", "-h"}: "",
			} {
				code := 2
				if want == "" {
					code = 0
				}
				r.run("queue", "pause", "hooks", args[0], args[1]).wants(code).says(want)
			}
			r.run("queue", "pause", "hooks", "--for", "1h", "--until", "2001-01-01T00:00:00Z").wants(2).says("--until and --for say the same")
		},
	})
}

func TestGroup(t *testing.T) {
	t.Parallel()
	eachInScene(t, map[string]func(*rig){
		"get": func(r *rig) {
			r.run("group", "get", "orders").wants(0).golden("group-get")
			r.run("group", "get", "orders", "-o", "json").wants(0).golden("group-get-json")
			r.run("group", "get", "none").wants(3).says("GROUP_NOT_FOUND")
		},
		"delete": func(r *rig) {
			r.run("group", "delete", "orders").wants(2).says(`Forget the counts of group "orders" for good?`)
			r.run("group", "delete", "orders", "--dry-run").wants(0).says("the counts of group orders would be forgotten: 5 tasks")
			r.run("group", "get", "orders").wants(0)
			r.run("group", "delete", "orders", "--yes").wants(0).says("the counts of group orders are forgotten")
			r.run("group", "delete", "orders", "--yes").wants(3)
		},
	})
}
