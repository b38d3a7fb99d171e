package redisstore

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
)

// inGroup is a store of one shard with pending tasks in a group, in some queues.
func inGroup(t *testing.T, url string, tasks, queues int) *Store {
	t.Helper()
	s, err := New(Config{URL: url, Prefix: redistest.Prefix(t), Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	changes := make([]scheduler.Change, tasks)
	for i := range changes {
		task := &scheduler.Task{
			Key: scheduler.TaskKey{Namespace: "ns", ID: fmt.Sprint("t", i)}, Spec: scheduler.Spec{Queue: fmt.Sprint("q", i%queues), Group: "g"},
			State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1, DueMS: 1 << 41,
		}
		changes[i] = scheduler.Change{Key: task.Key, Task: task}
	}
	for _, got := range s.Commit(t.Context(), changes) {
		if got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	// A group that changes in the millisecond in which a walk begins is left alone.
	for first := int64(0); ; {
		nowMS, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = nowMS
		}
		if nowMS > first {
			return s
		}
	}
}

// auditTo makes passes until it is so, or the walk is done, and returns what was found.
func (w *auditWalk) auditTo(t *testing.T, so func() bool) (found []scheduler.Finding) {
	t.Helper()
	for !so() {
		pass, err := w.Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pass.Findings...)
		if pass.Done {
			return found
		}
	}
	return found
}

func never() bool { return false }

// TestAuditLeavesGroupsWhileSlotsMove moves a slot from a node that is being scanned to
// one that was scanned already: not all tasks were seen, and the counts are right.
func TestAuditLeavesGroupsWhileSlotsMove(t *testing.T) {
	t.Parallel()
	const tasks = 400
	cluster := redistest.StartCluster(t, 2, 0)
	s := inGroup(t, cluster.URL(), tasks, 1)
	group := s.keys.group(0, scheduler.GroupKey{Namespace: "ns", Name: "g"})
	from, slot := cluster.MasterOf(t, group)
	to := cluster.Masters[0]
	if to == from {
		to = cluster.Masters[1]
	}
	w := s.Audit().(*auditWalk)
	found := w.auditTo(t, func() bool { return w.begun })
	slices.SortFunc(w.nodes, func(a, _ auditNode) int {
		if a.was.id == from.Do(t, "CLUSTER", "MYID") {
			return 1
		}
		return -1
	})
	found = append(found, w.auditTo(t, func() bool { return len(w.nodes) == 1 && len(w.groups.seen) > 50 })...)
	if seen := len(w.groups.seen); seen >= tasks {
		t.Fatalf("%d tasks were scanned before the slot could move", seen)
	}

	// That the group has counts is known from any page of the scan.
	k, _ := s.keys.parse(group)
	w.todo = append(w.todo, k)
	names, err := s.allKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(t, "CLUSTER", "MYID"))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(t, "CLUSTER", "MYID"))
	_, port, err := net.SplitHostPort(to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, s.keys.shards[0]) })
	for part := range slices.Chunk(names, 100) {
		from.Do(t, append([]string{"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"}, part...)...)
	}
	for _, n := range []*redistest.Server{to, from} {
		n.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", to.Do(t, "CLUSTER", "MYID"))
	}

	found = append(found, w.auditTo(t, never)...)
	if len(found) > 0 {
		t.Errorf("found %+v", found)
	}
	if total := to.Do(t, "HGET", group, "t"); total != fmt.Sprint(tasks) {
		t.Errorf("%s tasks are counted, and there are %d", total, tasks)
	}
}

// TestAuditLeavesGroupsOfAnotherProcess shows that counts of groups are left alone where
// the server is another than the one whose keys were scanned.
func TestAuditLeavesGroupsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	s := inGroup(t, redistest.Shared(t).URL(), 30, 1)
	s.client.HIncrBy(t.Context(), s.keys.group(0, scheduler.GroupKey{Namespace: "ns", Name: "g"}), "t", 7)
	w := s.Audit().(*auditWalk)
	w.auditTo(t, func() bool { return w.begun && len(w.nodes) == 0 })
	run := w.all[0].was.run
	w.all[0].was.run = "another"
	if found := w.auditTo(t, never); len(found) > 0 || run == "" {
		t.Errorf("run %q, found %+v", run, found)
	}
	w = s.Audit().(*auditWalk)
	if found := w.auditTo(t, never); len(found) != 1 || found[0].Kind != scheduler.FindingGroupCount {
		t.Errorf("found of the same process %+v", found)
	}
}

func TestParseNodes(t *testing.T) {
	t.Parallel()
	const others = "bb 127.0.0.1:2@3 master - 0 1700000000000 2 connected 100-16383\n" +
		"cc 127.0.0.1:4@5 slave bb 0 1700000000000 2 connected\ndd 127.0.0.1:6@7 master - 0 1 0 connected\n"
	first := parseNodes("aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-99\n" + others)
	if want := (nodeView{id: "aa", own: "myself,master 1 0-99", masters: "aa bb"}); first != want {
		t.Fatalf("read %+v, want %+v", first, want)
	}
	for name, c := range map[string]struct {
		text         string
		same, moving bool
	}{
		"later":                {"aa 127.0.0.1:1@2 myself,master - 0 9 1 connected 0-99\n" + strings.ReplaceAll(others, "1700", "1800"), true, false},
		"fewer slots":          {"aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-98\n" + others, false, false},
		"another epoch":        {"aa 127.0.0.1:1@2 myself,master - 0 0 3 connected 0-99\n" + others, false, false},
		"a slot on its way":    {"aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-99 [5->-bb]\n" + others, false, true},
		"a slot on its way in": {"aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-99 [500-<-bb]\n" + others, false, true},
		"a replica":            {"aa 127.0.0.1:1@2 myself,slave bb 0 0 1 connected\n" + others, false, true},
		"another master":       {"aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-99\n" + strings.Replace(others, "0 connected", "0 connected 7", 1), false, false},
	} {
		if got := parseNodes(c.text); (got == first) != c.same || got.moving != c.moving {
			t.Errorf("%s: read %+v", name, got)
		}
	}
}

// TestCountsWaitForAllTasks shows that where there are too many keys to keep for later, no
// counts are held to indexes whose tasks may be missing.
func TestCountsWaitForAllTasks(t *testing.T) {
	t.Parallel()
	const queues = 60
	s := inGroup(t, redistest.Shared(t).URL(), 10*queues, queues)
	for i := range queues {
		s.client.ZRemRangeByRank(t.Context(), s.keys.due(0, scheduler.QueueKey{Namespace: "ns", Name: fmt.Sprint("q", i)}), 1, 4)
	}
	w := s.Audit().(*auditWalk)
	w.most = 5
	found := w.auditTo(t, never)
	missing := 0
	for _, f := range found {
		if f.Kind != scheduler.FindingMissing {
			t.Errorf("found %+v", f)
		}
		missing++
	}
	if missing != 4*queues {
		t.Errorf("%d missing, want %d", missing, 4*queues)
	}
	w = s.Audit().(*auditWalk)
	if again := w.auditTo(t, never); len(again) > 0 {
		t.Errorf("found again: %+v", again)
	}
}
