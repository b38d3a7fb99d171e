package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// TestUpgrade rolls two replicas of the previous version to this one, one by one and
// under load, and one of them back and forth again, as after a second thought. Half of
// the workers are of the previous version throughout.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	old := before(t, "retryd")
	redis := redistest.Start(t)
	r := startRigOf(t, redis.URL(), old)
	r.startWorkersBefore()
	first, second := r.dial(r.replicas[:1]), r.dial(r.replicas[1:])
	tokens := makeExhibits(t, first)
	made := lookAt(t, second)
	r.steady()

	now := retryd(t)
	for i, step := range []struct {
		what    string
		replica int
		binary  string
	}{
		{"the first of two is new", 0, now},
		{"both are new", 1, now},
		{"the first is old again", 0, old},
		{"both are new again", 0, now},
	} {
		r.replicas[step.replica].binary = step.binary
		r.roll(step.replica)
		r.steady()
		passAcross(t, fmt.Sprint("there ", i), first, second)
		passAcross(t, fmt.Sprint("back ", i), second, first)
		wantSame(t, step.what+", by the first", lookAt(t, first), made)
		wantSame(t, step.what+", by the second", lookAt(t, second), made)
		if t.Failed() {
			return
		}
	}
	finishExhibits(t, second, tokens)
	r.account()
	wantVerified(t, openRedis(t, r.cfg))
}

// passAcross has a task written by each of two replicas in turn: what one has written
// the other goes on with.
func passAcross(t *testing.T, id string, a, b *client.Client) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=b")
	task := client.Task{ID: id, Queue: "across", Policy: "soon", Payload: []byte("p"), Attributes: map[string]string{"k": "v"}}
	if _, err := a.ReportFailure(ctx, task, client.TimeoutFailure()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Client{b, a, b} {
		next, err := c.NextAttempt(ctx, client.Next{TaskID: id, Wait: 10 * time.Second, Lease: time.Minute})
		if err != nil || next.Leased == nil {
			t.Fatalf("%s: %+v, %v; want it leased", id, next, err)
		}
		// What it was first reported with may be repeated.
		d, err := c.ReportFailure(ctx, task, client.TimeoutFailure(), client.WithLeaseToken(next.Leased.LeaseToken))
		if err != nil || d.NextAttempt != next.Attempt+1 {
			t.Fatalf("%s: %+v, %v; want attempt %d to be next", id, d, err, next.Attempt+1)
		}
	}
	next, err := a.NextAttempt(ctx, client.Next{TaskID: id, Wait: 10 * time.Second, Lease: time.Minute})
	if err != nil || next.Leased == nil {
		t.Fatalf("%s: %+v, %v; want it leased", id, next, err)
	}
	if done, err := a.ReportSuccess(ctx, client.Task{}, client.WithLeaseToken(next.Leased.LeaseToken)); err != nil || done.Attempts != 5 {
		t.Fatalf("%s: %+v, %v; want 5 attempts", id, done, err)
	}
}

// roll stops a replica as an operator does, and starts it again.
func (r *rig) roll(i int) {
	r.t.Helper()
	r.replicas[i].Signal(syscall.SIGTERM)
	if status := r.replicas[i].Wait(); status != 0 {
		r.t.Errorf("replica %d ended with %d on SIGTERM", i, status)
	}
	r.start(i)
	r.awaitServing(i)
}

// startWorkersBefore starts two workers of the previous version, each of both
// replicas.
func (r *rig) startWorkersBefore() {
	r.t.Helper()
	var addrs []string
	for _, p := range r.replicas {
		addrs = append(addrs, p.addr)
	}
	for i := range 2 {
		cfg, err := json.Marshal(map[string]any{"Via": fmt.Sprintf("worker %d of before", i), "Servers": addrs})
		if err != nil {
			r.t.Fatal(err)
		}
		cmd := exec.Command(before(r.t, "faults"), "worker", string(cfg)) //nolint:noctx // it ends by a signal
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			r.t.Fatal(err)
		}
		r.workers.Go(func() {
			err := ledger.Read(out, r.ledger)
			// Whatever it was, the process is not to wait for a reader.
			_, _ = io.Copy(io.Discard, out)
			if ended := cmd.Wait(); err != nil || ended != nil {
				r.t.Errorf("worker %d of before: %v, %v\n%s", i, err, ended, log.String())
			}
		})
		stop := func() { _ = cmd.Process.Signal(syscall.SIGTERM) } // it may have ended
		finish := r.finish
		r.finish = func() {
			stop()
			finish()
		}
		r.t.Cleanup(stop)
	}
}

// wantVerified wants all that is kept to fit together. Only counts may be mended before:
// a version before may not have kept all that are kept now.
func wantVerified(t *testing.T, store *redisstore.Store) {
	t.Helper()
	walk := store.Audit()
	for done := false; !done; {
		pass, err := walk.Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range pass.Findings {
			if f.Kind != scheduler.FindingQueueCount || f.Left {
				t.Errorf("%s: %s/%s: %s", f.Kind, f.Namespace, f.Name, f.Detail)
				continue
			}
			t.Logf("a count is mended: %s/%s: %s", f.Namespace, f.Name, f.Detail)
		}
		done = pass.Done
	}
	found, err := store.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}
