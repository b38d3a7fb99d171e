package e2e_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestRestoreFromABackup takes a backup by the commands of docs/backup.md, goes on,
// loses all, puts the backup back by those commands, and finds what that page says.
func TestRestoreFromABackup(t *testing.T) {
	t.Parallel()
	snapshot, appendOnly := backupCommands(t)
	if len(snapshot) != 4 || len(appendOnly) != 2 {
		t.Fatalf("docs/backup.md has %d and %d groups of commands", len(snapshot), len(appendOnly))
	}
	for _, way := range []struct {
		name string
		// started is the append-only file that Redis is started with to put the backup
		// back.
		started             string
		take, place, finish string
	}{
		{"snapshot", "no", snapshot[0], snapshot[1], snapshot[2]},
		{"append-only file", "yes", appendOnly[0], appendOnly[1], ":"},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t, "--port", redistest.FreePort(t), "--appendonly", way.started, "--appendfsync", "always")
			// In its days it had one, however it is started for the restore.
			redis.Do(t, "CONFIG", "SET", "appendonly", "yes")
			sh := newRedisShell(t, redis)
			var then backedUp
			t.Run("before", func(t *testing.T) {
				store := openRedis(t, redisstore.Config{URL: redis.URL(), Log: slog.New(slog.DiscardHandler)})
				c := serve(t, store).client(t)
				then = seed(t, c)
				sh.run(t, way.take)
				then.goOn(t, c)
			})
			redis.Stop(t)
			sh.run(t, way.place)
			redis.Restart(t)
			sh.run(t, way.finish)
			sh.run(t, snapshot[3])
			redis.Stop(t)
			// From then on it starts as ever.
			asEver := redistest.Start(t, "--dir", sh.dir, "--appendonly", "yes")
			store := openRedis(t, redisstore.Config{URL: asEver.URL(), Log: slog.New(slog.DiscardHandler)})
			then.wantBack(t, serve(t, store).client(t))
			if found, err := store.Verify(t.Context()); err != nil || len(found) > 0 {
				t.Errorf("what was put back does not fit together: %q, %v", found, err)
			}
		})
	}
}

var backupBlock = regexp.MustCompile("(?ms)^ *```sh( append-only)?\n(.*?)\n *```$")

// backupCommands are those of docs/backup.md, in their order.
func backupCommands(t *testing.T) (snapshot, appendOnly []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range backupBlock.FindAllStringSubmatch(string(text), -1) {
		if block[1] == "" {
			snapshot = append(snapshot, block[2])
		} else {
			appendOnly = append(appendOnly, block[2])
		}
	}
	return snapshot, appendOnly
}

// redisShell runs commands where Redis keeps its files.
type redisShell struct {
	dir, path string
}

func newRedisShell(t *testing.T, redis *redistest.Server) redisShell {
	t.Helper()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("redis-cli is missing; it comes with redis-server")
	}
	_, port, _ := strings.Cut(redis.Addr(), ":")
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec %s -p %s \"$@\"\n", cli, port)
	if err := os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	_, dir, _ := strings.Cut(redis.Do(t, "CONFIG", "GET", "dir"), "\n")
	return redisShell{dir: strings.TrimSpace(dir), path: bin + string(os.PathListSeparator) + os.Getenv("PATH")}
}

func (s redisShell) run(t *testing.T, commands string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", commands)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "PATH="+s.path)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERR") {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}

// backedUp is what was known at the backup, and came after it.
type backedUp struct {
	// waits is when the task that waits was due.
	waits time.Time
	// held is the token of a lease that was given before the backup, gone of one that
	// was given after it.
	held, gone string
}

// seed makes a task for each row of the page's table.
func seed(t *testing.T, c *client.Client) backedUp {
	t.Helper()
	createPolicy(t, c, "soon", time.Millisecond)
	createPolicy(t, c, "later", time.Hour)
	if _, err := c.Policies().CreatePolicy(t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "never", DisplayName: "Never", DefaultAction: retryv1.Action_ACTION_DEAD_LETTER,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Second)}},
	}}); err != nil {
		t.Fatal(err)
	}
	fail(t, c, "due", "soon")
	fail(t, c, "held", "soon")
	fail(t, c, "lapses", "soon")
	fail(t, c, "dead", "never")
	b := backedUp{waits: fail(t, c, "waits", "later").NextAttemptTime, held: nextAttempt(t, c, client.Next{TaskID: "held", Wait: 30 * time.Second, Lease: time.Hour}).LeaseToken}
	nextAttempt(t, c, client.Next{TaskID: "lapses", Wait: 30 * time.Second, Lease: time.Second})
	return b
}

// goOn is what the backup knows nothing of.
func (b *backedUp) goOn(t *testing.T, c *client.Client) {
	t.Helper()
	b.gone = nextAttempt(t, c, client.Next{TaskID: "due", Wait: 30 * time.Second, Lease: time.Hour}).LeaseToken
	for _, token := range []string{b.gone, b.held} {
		succeed(t, c, token)
	}
	fail(t, c, "new", "soon")
	if _, err := c.Tasks().ReplayTask(t.Context(), &retryv1.ReplayTaskRequest{TaskId: "dead"}); err != nil {
		t.Fatal(err)
	}
}

// wantBack wants what the page tells of the time after the restore.
func (b *backedUp) wantBack(t *testing.T, c *client.Client) {
	t.Helper()
	if _, err := c.NextAttempt(t.Context(), client.Next{TaskID: "new"}); client.ReasonOf(err) != "TASK_NOT_FOUND" {
		t.Errorf("what was reported after the backup: %v", err)
	}
	if next := state(t, c, "waits"); next.State != client.StateScheduled || !next.Time.Equal(b.waits) {
		t.Errorf("what waited is %+v, want it due at %s", next, b.waits)
	}
	if next := state(t, c, "dead"); next.State != client.StateDead {
		t.Errorf("what was dead is %s", next.State)
	}
	if next := state(t, c, "held"); next.State != client.StateLeased {
		t.Errorf("what was leased is %s", next.State)
	}
	// The token of a lease that the backup knows is good, that of another is not.
	succeed(t, c, b.held)
	if _, err := c.ReportSuccess(t.Context(), client.Task{}, client.WithLeaseToken(b.gone)); client.ReasonOf(err) != "LEASE_LOST" {
		t.Errorf("a lease that was given after the backup: %v", err)
	}
	// Attempts handed out since, and those whose leases have ended, come once more.
	again := make(map[string]int)
	for range 2 {
		a := nextAttempt(t, c, client.Next{Queue: "q", Wait: 30 * time.Second, Lease: time.Hour})
		again[a.TaskID] = a.Number
		succeed(t, c, a.LeaseToken)
	}
	if want := map[string]int{"due": 2, "lapses": 2}; !maps.Equal(again, want) {
		t.Errorf("handed out once more: %v, want %v", again, want)
	}
}

func fail(t *testing.T, c *client.Client, id, policy string) *client.Decision {
	t.Helper()
	d, err := c.ReportFailure(t.Context(), client.Task{ID: id, Queue: "q", Policy: policy}, client.TimeoutFailure(), client.WithAttempt(1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func succeed(t *testing.T, c *client.Client, token string) {
	t.Helper()
	if _, err := c.ReportSuccess(t.Context(), client.Task{}, client.WithLeaseToken(token)); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, c *client.Client, id string) *client.NextAttempt {
	t.Helper()
	next, err := c.NextAttempt(t.Context(), client.Next{TaskID: id})
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return next
}

// nextAttempt takes an attempt as soon as it is due.
func nextAttempt(t *testing.T, c *client.Client, what client.Next) *client.Attempt {
	t.Helper()
	next, err := c.NextAttempt(t.Context(), what)
	if err != nil || next.Leased == nil {
		t.Fatalf("%+v: %+v, %v; want it leased", what, next, err)
	}
	return next.Leased
}
