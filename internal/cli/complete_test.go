package cli_test

import (
	"testing"
	"time"
)

func TestCompletion(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 3)
		r.policy("slow", time.Hour, 3)
		r.run("report", "a", "--queue=hooks", "--policy=quick", "--http=503").wants(0)
		r.run("__complete", "policy", "get", "").wants(0).says("quick\tQUICK\nslow\tSLOW\n:4\n")
		r.run("__complete", "policy", "get", "quick", "").wants(0).says(":4\n")
		r.run("__complete", "report", "b", "--queue", "").wants(0).says("hooks\n:4\n")
		r.run("__complete", "report", "b", "--policy", "s").wants(0).says("slow\tSLOW\n")
		r.run("__complete", "queue", "stats", "").wants(0).says("hooks\n:4\n")
		r.run("__complete", "watch", "hooks", "").wants(0).says("hooks\n:4\n")
		r.run("__complete", "dead", "list", "--policy", "").wants(0).says("quick\tQUICK\n")
		r.run("__complete", "policy", "preview", "quick", "-o", "").wants(0).says("table\nwide\njson\nyaml\nsvg\n:4\n")
		r.run("__complete", "task", "list", "--state", "").wants(0).says("SCHEDULED\nLEASED\nHELD\nDEAD\n:4\n")
		r.run("__complete", "report", "b", "--connection", "").wants(0).says("DNS\nREFUSED\n")
		r.run("__complete", "--address=nowhere", "policy", "get", "").wants(0)
	})
}
