package redisstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestRecipes runs the commands of docs/redis.md on a Redis with something in it.
func TestRecipes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := redistest.Start(t, "--port", redistest.FreePort(t))
	s := newStore(t, redisstore.Config{URL: server.URL()})
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	var changes []scheduler.Change
	for i := range 50 {
		task := pendingTask(fmt.Sprint("order-", i))
		task.DueMS = 1
		changes = append(changes, scheduler.Change{Key: task.Key, Task: task})
	}
	wantDone(t, s.Commit(ctx, changes))
	rec := &scheduler.PolicyRecord{Namespace: "default", Policy: policy.Policy{ID: "webhook"}, Revision: 1}
	if ok, err := s.PutPolicy(ctx, rec, 0); !ok || err != nil {
		t.Fatalf("put policy: %v, error %v", ok, err)
	}

	for _, line := range recipes(t) {
		follow(t, server, line)
	}

	// The user that they have made may do all that is needed.
	wantWholeWork(t, strings.Replace(server.URL(), "redis://", "redis://retryd:any@", 1))
}

// TestRightsOnACluster shows that the user of docs/redis.md may do all that is
// needed there, too.
func TestRightsOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	for _, line := range recipes(t) {
		if strings.Contains(line, "ACL SETUSER") {
			follow(t, cluster.Masters[0], line)
			follow(t, cluster.Masters[1], line)
		}
	}
	wantWholeWork(t, strings.Replace(cluster.URL(), "redis://", "redis://retryd:any@", 1))
}

// recipes are the commands of docs/redis.md.
func recipes(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for block := range strings.SplitSeq(string(text), "```") {
		if commands, ok := strings.CutPrefix(block, "sh\n"); ok {
			lines = append(lines, strings.Split(strings.TrimSpace(commands), "\n")...)
		}
	}
	if len(lines) < 10 {
		t.Fatalf("docs/redis.md has %d commands", len(lines))
	}
	return lines
}

// follow runs a command on a server, and wants it to say something.
func follow(t *testing.T, server *redistest.Server, line string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "set -e; "+line)
	cmd.Env = append(os.Environ(), "PATH="+withRedisCLI(t, server))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) == "" || strings.Contains(string(out), "ERR") {
		t.Errorf("%s: error %v, output %q", line, err, out)
	}
}

// withRedisCLI returns a PATH on which redis-cli speaks to the server.
func withRedisCLI(t *testing.T, server *redistest.Server) string {
	t.Helper()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("redis-cli is missing; it comes with redis-server")
	}
	_, port, _ := strings.Cut(server.Addr(), ":")
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec %s -p %s \"$@\"\n", cli, port)
	if err := os.WriteFile(filepath.Join(dir, "redis-cli"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir + string(os.PathListSeparator) + os.Getenv("PATH")
}

// wantWholeWork wants every method to work.
func wantWholeWork(t *testing.T, url string) {
	t.Helper()
	ctx := t.Context()
	cfg := redisstore.Config{URL: url}
	s := newStore(t, cfg)
	hints := listen(t, newStore(t, cfg))
	heard(t, s, "hinted", hints)
	got := s.Commit(ctx, creations(0, 1))
	wantDone(t, got)
	ended := endedTask("ended")
	ended.ExpireMS = 1 << 42
	wantDone(t, s.Commit(ctx, []scheduler.Change{{Key: ended.Key, Task: ended}}))
	claimed := claimDue(ctx, t, s, 5)
	if len(claimed) != 1 {
		t.Fatalf("%d tasks claimed", len(claimed))
	}
	lease := scheduler.LeaseCheck{Queue: claimed[0].Queue(), Key: claimed[0].Key, Fence: claimed[0].Fence}
	rec := &scheduler.PolicyRecord{Namespace: "ns", Policy: policy.Policy{ID: "p"}, Revision: 1}
	group := scheduler.GroupKey{Namespace: "ns", Name: "g"}
	job := &scheduler.JobRecord{Namespace: "ns", Job: scheduler.Job{ID: "j"}, Revision: 1}
	for name, call := range map[string]func() error{
		"load":         func() error { return s.Load(ctx, []scheduler.TaskKey{lease.Key})[0].Err },
		"check leases": func() error { return s.CheckLeases(ctx, []scheduler.LeaseCheck{lease})[0].Err },
		"now":          func() error { _, err := s.Now(ctx); return err },
		"heads":        func() error { _, err := s.Heads(ctx, []scheduler.QueueKey{lease.Queue}); return err },
		"due":          func() error { _, err := s.Due(ctx, lease.Queue, 0, scheduler.Place{}, 1); return err },
		"ending":       func() error { _, err := s.Ending(ctx, 0, scheduler.Place{}, 1); return err },
		"browse":       func() error { return s.Browse(ctx, make([]scheduler.Part, 1))[0].Err },
		"groups":       func() error { _, err := s.DeadLetterGroups(ctx, lease.Queue); return err },
		"queues":       func() error { _, err := s.Queues(ctx, 0, scheduler.QueueKey{}, 1); return err },
		"due queues":   func() error { _, err := s.DueQueues(ctx, 0, 0, 1); return err },
		"count queues": func() error { _, err := s.CountQueues(ctx, []scheduler.QueueKey{lease.Queue}); return err },
		"pause":        func() error { return s.PauseQueue(ctx, lease.Queue, 1) },
		"resume":       func() error { return s.ResumeQueue(ctx, lease.Queue) },
		"forget":       func() error { _, err := s.ForgetQueues(ctx, 0, scheduler.QueueKey{}, 9); return err },
		"group":        func() error { _, _, err := s.Group(ctx, group); return err },
		"delete group": func() error { _, err := s.DeleteGroup(ctx, group); return err },
		"old groups":   func() error { _, err := s.ForgetGroups(ctx, 0, 1, 9); return err },
		"policies":     func() error { _, err := s.Policies(ctx, "default"); return err },
		"recent":       func() error { _, err := s.RecentPolicy(ctx, "default", "webhook"); return err },
		"put policy":   func() error { _, err := s.PutPolicy(ctx, rec, 0); return err },
		"job":          func() error { _, err := s.RecentJob(ctx, "ns", "j"); return err },
		"jobs":         func() error { _, _, err := s.Jobs(ctx, "ns"); return err },
		"put job":      func() error { _, err := s.PutJob(ctx, job, 0, nil); return err },
		"delete job":   func() error { _, err := s.DeleteJob(ctx, "ns", "j", 1); return err },
		"check":        func() error { return s.Check(ctx) },
		"audit turn":   func() error { _, err := s.AuditTurn(ctx, "r", time.Minute); return err },
		"audit":        func() error { return auditAll(ctx, s) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantDone(t, s.Commit(ctx, []scheduler.Change{{Key: claimed[0].Key, Before: claimed[0]}}))
}

// auditAll audits once.
func auditAll(ctx context.Context, s *redisstore.Store) error {
	walk := s.Audit()
	for {
		if pass, err := walk.Pass(ctx); err != nil || pass.Done {
			return err
		}
	}
}
