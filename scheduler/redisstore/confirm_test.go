package redisstore_test

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// replicated are a master with replicas, of which nothing is heard but what is
// written.
func replicated(t *testing.T, replicas int) (master *redistest.Server, list []*redistest.Server) {
	t.Helper()
	master = redistest.Start(t, "--port", redistest.FreePort(t), "--repl-ping-replica-period", "3600")
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range replicas {
		list = append(list, redistest.Start(t, "--port", redistest.FreePort(t), "--replicaof", host, port))
	}
	// The stream to one that is new begins when it first says how far it is.
	await(t, "all replicas", func() bool {
		master.Do(t, "PUBLISH", "nobody", "a word")
		info := master.Do(t, "INFO", "replication")
		return strings.Count(info, "state=online") == replicas && !strings.Contains(info, ",offset=0,")
	})
	return master, list
}

// await asks until it is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("there is no sign of %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freeze stops a server as if the machine hung, until thaw is called, which the
// test's end does at the latest.
func freeze(t *testing.T, server *redistest.Server) (thaw func()) {
	t.Helper()
	pid := server.PID(t)
	signal := func(sig syscall.Signal) {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	thaw = sync.OnceFunc(func() { signal(syscall.SIGCONT) })
	t.Cleanup(thaw)
	return thaw
}

// changes is how much has been written to a server. What replicas are told would not
// do: it grows with each WAIT, which asks them how far they are.
func changes(t *testing.T, server *redistest.Server) int {
	t.Helper()
	for line := range strings.Lines(server.Do(t, "INFO", "persistence")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "rdb_changes_since_last_save:"); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("redis does not tell its changes")
	return 0
}

// checked is a store at durability replicated whose check has gone well.
func checked(t *testing.T, url string, replicas int) *redisstore.Store {
	t.Helper()
	s := newStore(t, redisstore.Config{URL: url, Shards: 4, Durability: scheduler.DurabilityReplicated, Replicas: replicas})
	// A replica that has just come is not counted yet.
	await(t, "its replicas", func() bool { return s.Check(t.Context()) == nil })
	return s
}

// oneClaim claims up to ten tasks of queue q from shard 0.
func oneClaim(t *testing.T, s *redisstore.Store, id uint64) scheduler.Claimed {
	t.Helper()
	return s.Claim(t.Context(), []scheduler.Claim{{
		ID: id, Replica: "r", Queue: queueQ, Slots: []scheduler.Slot{{Count: 10, LeaseMS: 60_000}}, Nonces: make([]uint64, 10),
	}})[0]
}

func TestReplicasConfirm(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	s := checked(t, master.URL(), 0)
	if got := s.Info(); got.Found != scheduler.DurabilityReplicated || got.Disk != scheduler.DurabilityMemory || got.Replicas != 1 {
		t.Errorf("found %+v", got)
	}
	wantDone(t, s.Commit(t.Context(), creations(0, 40)))

	thaw := freeze(t, replicas[0])
	began := time.Now()
	// What is claimed is told, so that it can be given back.
	claimed := oneClaim(t, s, 1)
	if len(claimed.Tasks) == 0 {
		t.Errorf("claimed: %+v", claimed)
	}
	wantKind(t, claimed.Err, scheduler.KindUnconfirmed)
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("the replica had %s to confirm, want a second", took)
	}
	first := s.Commit(t.Context(), creations(100, 1))[0]
	wantKind(t, first.Err, scheduler.KindUnconfirmed)
	if first.Task == nil || first.Status != scheduler.CommitDone {
		t.Errorf("what is written and not confirmed: %+v", first)
	}
	// Its repeat finds it, and is not told so either.
	again := s.Commit(t.Context(), creations(100, 1))[0]
	wantKind(t, again.Err, scheduler.KindUnconfirmed)
	key := []scheduler.TaskKey{creations(100, 1)[0].Key}
	if got := s.Load(t.Context(), key)[0]; got.Err != nil || got.Task == nil || !got.Unconfirmed {
		t.Errorf("loaded: %+v", got)
	}
	wantKind(t, s.Confirm(t.Context(), key)[0].Err, scheduler.KindUnconfirmed)
	rec := &scheduler.PolicyRecord{Namespace: "ns", Revision: 1}
	rec.Policy.ID = "p"
	if ok, err := s.PutPolicy(t.Context(), rec, 0); !ok || !scheduler.IsUnconfirmed(err) {
		t.Errorf("a policy: %v, %v", ok, err)
	}

	// Once it is known to be behind, nobody waits long, and nothing is claimed.
	await(t, "the lag", func() bool {
		got := oneClaim(t, s, 2)
		wantKind(t, got.Err, scheduler.KindUnconfirmed)
		return len(got.Tasks) == 0
	})
	began = time.Now()
	wantKind(t, s.Commit(t.Context(), creations(101, 1))[0].Err, scheduler.KindUnconfirmed)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("it took %s to tell what is known already", took)
	}

	thaw()
	await(t, "confirmation", func() bool { return s.Confirm(t.Context(), key)[0].Err == nil })
	if got := s.Confirm(t.Context(), key)[0]; got.Err != nil || got.Task == nil || got.Task.Version != first.Task.Version || got.Unconfirmed {
		t.Errorf("confirmed: %+v", got)
	}
	again = s.Commit(t.Context(), creations(100, 1))[0]
	if again.Err != nil || again.Status != scheduler.CommitConflict || again.Task.Version != first.Task.Version {
		t.Errorf("its repeat, confirmed: %+v", again)
	}
	if got := oneClaim(t, s, 1); got.Err != nil || len(got.Tasks) != len(claimed.Tasks) {
		t.Errorf("the claim's repeat, confirmed: %+v", got)
	}
	wantSound(t.Context(), t, s)
}

// TestDuplicatesWrite holds what changes nothing to writing something all the same:
// a newer Redis confirms what its connection has written last.
func TestDuplicatesWrite(t *testing.T) {
	t.Parallel()
	master, _ := replicated(t, 1)
	s := checked(t, master.URL(), 0)
	wantDone(t, s.Commit(t.Context(), creations(0, 40)))
	if got := oneClaim(t, s, 1); got.Err != nil || len(got.Tasks) == 0 {
		t.Fatalf("claimed: %+v", got)
	}
	key := []scheduler.TaskKey{creations(0, 1)[0].Key}
	pol := &scheduler.PolicyRecord{Namespace: "ns", Revision: 1}
	pol.Policy.ID = "p"
	if ok, err := s.PutPolicy(t.Context(), pol, 0); !ok || err != nil {
		t.Fatalf("a policy: %v, %v", ok, err)
	}
	for name, repeat := range map[string]func() error{
		"a report":             func() error { return s.Commit(t.Context(), creations(0, 1))[0].Err },
		"reports":              func() error { return s.Commit(t.Context(), creations(0, 40))[39].Err },
		"a claim":              func() error { return oneClaim(t, s, 1).Err },
		"a look at the answer": func() error { return s.Confirm(t.Context(), key)[0].Err },
		"a policy": func() error {
			_, err := s.PutPolicy(t.Context(), pol, pol.Revision)
			return err
		},
		"the end of a pause": func() error { return s.ResumeQueue(t.Context(), queueQ) },
	} {
		before, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		was := changes(t, master)
		if err := repeat(); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
		if changes(t, master) == was {
			t.Errorf("%s again has written nothing", name)
		}
		after, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range before {
			if after[k] != v {
				t.Errorf("%s again has changed %s", name, k)
			}
		}
	}
}

// TestConfirmationsAreOfTheirOwnWrites has many callers on many connections, none of
// which may take what another's connection has confirmed for its own.
func TestConfirmationsAreOfTheirOwnWrites(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 1)
	s := checked(t, master.URL(), 1)
	wantDone(t, s.Commit(t.Context(), creations(0, 100)))
	freeze(t, replicas[0])
	var wg sync.WaitGroup
	for i := range 16 {
		// More than one of a call go to Redis at once, and not with those of others.
		wg.Go(func() {
			for _, got := range s.Commit(t.Context(), creations(1000+i*2, 2)) {
				wantKind(t, got.Err, scheduler.KindUnconfirmed)
			}
		})
	}
	wg.Wait()
}

// TestHowManyConfirm has two replicas, of which one hangs and then ends.
func TestHowManyConfirm(t *testing.T) {
	t.Parallel()
	master, replicas := replicated(t, 2)
	all, one := checked(t, master.URL(), 0), checked(t, master.URL(), 1)
	wantDone(t, all.Commit(t.Context(), creations(0, 10)))
	thaw := freeze(t, replicas[1])
	wantKind(t, all.Commit(t.Context(), creations(10, 1))[0].Err, scheduler.KindUnconfirmed)
	wantDone(t, one.Commit(t.Context(), creations(11, 1)))
	thaw()
	replicas[1].Stop(t)
	await(t, "its end", func() bool { return strings.Count(master.Do(t, "INFO", "replication"), "state=online") == 1 })
	// It may have become the primary elsewhere: the one that is left does not do, until
	// the other has been away for long.
	wantKind(t, all.Commit(t.Context(), creations(20, 1))[0].Err, scheduler.KindUnconfirmed)
	await(t, "a confirmation by the one that is left", func() bool { return all.Commit(t.Context(), creations(20, 1))[0].Err == nil })
	two := newStore(t, redisstore.Config{URL: master.URL(), Shards: 4, Durability: scheduler.DurabilityReplicated, Replicas: 2})
	if err := two.Check(t.Context()); !isUnfit(err) || !strings.Contains(err.Error(), "1 are connected") {
		t.Errorf("one replica where two are asked for: %v", err)
	}
	replicas[0].Stop(t)
	await(t, "its end", func() bool { return !strings.Contains(master.Do(t, "INFO", "replication"), "state=online") })
	wantKind(t, all.Commit(t.Context(), creations(30, 1))[0].Err, scheduler.KindUnconfirmed)
	if err := all.Check(t.Context()); !isUnfit(err) {
		t.Errorf("no replica is left: %v", err)
	}
}

func TestConfirmationOnSentinel(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, 1)
	s := checked(t, sentinels.URL(), 0)
	if got := s.Info(); got.Kind != "sentinel" || got.Replicas != 1 {
		t.Errorf("found %+v", got)
	}
	// A new replica confirms nothing before it has told its primary so once.
	await(t, "its replica", func() bool { return s.Commit(t.Context(), creations(1000, 1))[0].Err == nil })
	wantDone(t, s.Commit(t.Context(), creations(0, 200)))
	claimed := claimDue(t.Context(), t, s, 20)
	sentinels.Master.Kill(t)
	sentinels.AwaitMaster(t, sentinels.Replica)
	sentinels.Replica.AwaitMaster(t)
	// The new master has no replica, and all that was acknowledged.
	plain := newStore(t, redisstore.Config{URL: sentinels.Replica.URL(), Shards: 4})
	for _, c := range creations(0, 200) {
		if got := plain.Load(t.Context(), []scheduler.TaskKey{c.Key})[0]; got.Err != nil || got.Task == nil {
			t.Errorf("%s is lost: %+v", c.Key.ID, got)
		}
	}
	for _, task := range claimed {
		if got := plain.Load(t.Context(), []scheduler.TaskKey{task.Key})[0]; got.Task == nil || got.Task.Fence != task.Fence {
			t.Errorf("the lease of %s is lost", task.Key.ID)
		}
	}
	wantSound(t.Context(), t, plain)
}

func TestConfirmationOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 1)
	s := newStore(t, redisstore.Config{URL: cluster.URL(), Durability: scheduler.DurabilityReplicated})
	await(t, "its replicas", func() bool { return s.Check(t.Context()) == nil })
	// New replicas confirm nothing before they have told their primaries so once.
	await(t, "their confirmations", func() bool {
		return !slices.ContainsFunc(s.Commit(t.Context(), creations(0, 200)), func(got scheduler.Committed) bool { return got.Err != nil })
	})
	if got := len(claimDue(t.Context(), t, s, 20)); got != 200 {
		t.Errorf("%d claimed, want 200", got)
	}
	freeze(t, cluster.Replicas[0][0])
	changes := creations(200, 100)
	unconfirmed := 0
	for i, got := range s.Commit(t.Context(), changes) {
		master, _ := cluster.MasterOf(t, s.TaskKey(changes[i].Key))
		frozen := master == cluster.Masters[0]
		if frozen {
			unconfirmed++
		}
		if got.Task == nil || scheduler.IsUnconfirmed(got.Err) != frozen {
			t.Errorf("change %d, of a master whose replica hangs (%v): %+v", i, frozen, got)
		}
	}
	if unconfirmed == 0 || unconfirmed == 100 {
		t.Errorf("%d of 100 are on one of two masters", unconfirmed)
	}
}
