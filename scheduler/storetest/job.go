package storetest

import (
	"sync"
	"testing"

	"github.com/retryd/retryd/scheduler"
)

// aJob is a job as it is first written, with every field set.
func aJob(id string) *scheduler.JobRecord {
	return &scheduler.JobRecord{
		Namespace: "ns",
		Job: scheduler.Job{
			ID: id, DisplayName: "Nächtlich", Policy: "p",
			Environments: map[string]string{"prod": "careful", "eu:west/1": ""},
		},
		Revision: 1, CreateMS: 1, UpdateMS: 2,
	}
}

// again is a job as it is written next.
func again(rec *scheduler.JobRecord) *scheduler.JobRecord {
	next := *rec
	next.Revision++
	next.UpdateMS++
	return &next
}

func (f *fixture) putJob(rec *scheduler.JobRecord, expect int64, policies ...*scheduler.PolicyRecord) bool {
	f.t.Helper()
	ok, err := f.store.PutJob(f.t.Context(), rec, expect, policies)
	if err != nil {
		f.t.Fatal(err)
	}
	return ok
}

func (f *fixture) deleteJob(id string, expect int64) bool {
	f.t.Helper()
	ok, err := f.store.DeleteJob(f.t.Context(), "ns", id, expect)
	if err != nil {
		f.t.Fatal(err)
	}
	return ok
}

// job returns job j as this replica judges by it, which is as all others read it.
func (f *fixture) job() *scheduler.JobRecord {
	f.t.Helper()
	got, err := f.peer.Job(f.t.Context(), "ns", "j")
	if err != nil {
		f.t.Fatal(err)
	}
	recent, err := f.store.RecentJob(f.t.Context(), "ns", "j")
	if err != nil {
		f.t.Fatal(err)
	}
	equal(f.t, "recent job", recent, got)
	return got
}

// jobs returns the jobs of a namespace and their mark.
func (f *fixture) jobs(namespace string) ([]*scheduler.JobRecord, scheduler.JobsMark) {
	f.t.Helper()
	got, mark, err := f.peer.Jobs(f.t.Context(), namespace)
	if err != nil {
		f.t.Fatal(err)
	}
	return got, mark
}

// putPolicyUnlessJobs writes a policy unless jobs have been written
// since the mark.
func (f *fixture) putPolicyUnlessJobs(rec *scheduler.PolicyRecord, expect int64, mark scheduler.JobsMark) bool {
	f.t.Helper()
	ok, err := f.store.PutPolicyUnlessJobs(f.t.Context(), rec, expect, mark)
	if err != nil {
		f.t.Fatal(err)
	}
	return ok
}

func policyRecord(id string, revision int64) *scheduler.PolicyRecord {
	return &scheduler.PolicyRecord{Namespace: "ns", Policy: fullPolicy(id), Revision: revision}
}

func (f *fixture) putPolicy(rec *scheduler.PolicyRecord) *scheduler.PolicyRecord {
	f.t.Helper()
	if ok, err := f.store.PutPolicy(f.t.Context(), rec, rec.Revision-1); !ok || err != nil {
		f.t.Fatalf("put policy: %v, error %v", ok, err)
	}
	return rec
}

var jobTests = []exercise{
	{"a job comes back whole, by revision", func(t *testing.T, f *fixture) {
		none := (*scheduler.JobRecord)(nil)
		equal(t, "at first", f.job(), none)
		rec := aJob("j")
		equal(t, "changed before it is there", f.putJob(rec, 1), false)
		equal(t, "created", f.putJob(rec, 0), true)
		equal(t, "created again", f.putJob(rec, 0), false)
		equal(t, "job", f.job(), rec)
		next := again(rec)
		next.Job.Environments, next.Job.Policy = nil, ""
		equal(t, "stale", f.putJob(next, 2), false)
		equal(t, "job", f.job(), rec)
		equal(t, "changed", f.putJob(next, 1), true)
		equal(t, "changed job", f.job(), next)
		if got, err := f.store.Job(t.Context(), "other", "j"); got != nil || err != nil {
			t.Errorf("another namespace's job: %+v, error %v", got, err)
		}
	}},
	{"a job is deleted at its revision, and may come again", func(t *testing.T, f *fixture) {
		none := (*scheduler.JobRecord)(nil)
		equal(t, "deleted before it is there", f.deleteJob("j", 1), false)
		equal(t, "deleted as none", f.deleteJob("j", 0), false)
		f.putJob(aJob("j"), 0)
		equal(t, "stale", f.deleteJob("j", 2), false)
		equal(t, "job", f.job(), aJob("j"))
		equal(t, "deleted", f.deleteJob("j", 1), true)
		equal(t, "job", f.job(), none)
		equal(t, "deleted again", f.deleteJob("j", 1), false)
		equal(t, "created again", f.putJob(aJob("j"), 0), true)
		equal(t, "job", f.job(), aJob("j"))
	}},
	{"a job rests on its policies as they were read", func(t *testing.T, f *fixture) {
		p, q := f.putPolicy(policyRecord("p", 1)), f.putPolicy(policyRecord("q", 1))
		rec := aJob("j")
		equal(t, "on a policy that is not there", f.putJob(rec, 0, p, policyRecord("r", 1)), false)
		newer := f.putPolicy(policyRecord("q", 2))
		equal(t, "on a policy that has changed", f.putJob(rec, 0, p, q), false)
		equal(t, "job", f.job(), (*scheduler.JobRecord)(nil))
		equal(t, "on both as they are", f.putJob(rec, 0, p, newer), true)
		equal(t, "job", f.job(), rec)
	}},
	{"jobs are listed by id, with a mark that changes with every write", func(t *testing.T, f *fixture) {
		list, mark := f.jobs("ns")
		equal(t, "at first", len(list), 0)
		marks := map[scheduler.JobsMark]string{mark: "at first"}
		changed := func(what string, want bool) {
			t.Helper()
			_, mark := f.jobs("ns")
			if was, ok := marks[mark]; ok == want {
				t.Errorf("the mark %d after %s; it was so when %q", mark, what, was)
			}
			marks[mark] = what
		}
		for _, id := range []string{"b", "a", "c"} {
			f.putJob(aJob(id), 0)
			changed(id+" is created", true)
		}
		f.putJob(aJob("a"), 0)
		changed("a refused write", false)
		f.deleteJob("a", 7)
		changed("a refused deletion", false)
		f.deleteJob("none", 0)
		changed("a deletion of nothing", false)
		f.putPolicy(policyRecord("p", 1))
		changed("a policy", false)
		f.putJob(again(aJob("a")), 1)
		changed("a is written", true)
		f.deleteJob("b", 1)
		changed("b is deleted", true)
		list, _ = f.jobs("ns")
		equal(t, "jobs", list, []*scheduler.JobRecord{again(aJob("a")), aJob("c")})
		f.deleteJob("a", 2)
		f.deleteJob("c", 1)
		changed("all are deleted", true)
		other, _ := f.jobs("other")
		equal(t, "another namespace's jobs", len(other), 0)
	}},
	{"a policy is written unless jobs were", func(t *testing.T, f *fixture) {
		_, mark := f.jobs("ns")
		equal(t, "at first", f.putPolicyUnlessJobs(policyRecord("p", 1), 0, mark), true)
		equal(t, "stale", f.putPolicyUnlessJobs(policyRecord("p", 2), 2, mark), false)
		other := aJob("j")
		other.Namespace = "other"
		f.putJob(other, 0)
		equal(t, "after another namespace's job", f.putPolicyUnlessJobs(policyRecord("p", 2), 1, mark), true)
		f.putJob(aJob("j"), 0)
		equal(t, "after a job", f.putPolicyUnlessJobs(policyRecord("p", 3), 2, mark), false)
		_, mark = f.jobs("ns")
		equal(t, "with its mark", f.putPolicyUnlessJobs(policyRecord("p", 3), 2, mark), true)
		f.deleteJob("j", 1)
		equal(t, "after a deletion", f.putPolicyUnlessJobs(policyRecord("p", 4), 3, mark), false)
		got, err := f.store.Policy(t.Context(), "ns", "p")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "policy", got, policyRecord("p", 3))
	}},
	{"of many writers of a job at once one wins", func(t *testing.T, f *fixture) {
		f.putJob(aJob("j"), 0)
		_, before := f.jobs("ns")
		wins := make([]bool, 8)
		var wg sync.WaitGroup
		for i, store := range []scheduler.Store{f.store, f.peer, f.store, f.peer, f.store, f.peer, f.store, f.peer} {
			wg.Go(func() {
				var err error
				if i < 6 {
					wins[i], err = store.PutJob(t.Context(), again(aJob("j")), 1, nil)
				} else {
					wins[i], err = store.DeleteJob(t.Context(), "ns", "j", 1)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won := 0
		for _, ok := range wins {
			if ok {
				won++
			}
		}
		equal(t, "winners", won, 1)
		if _, mark := f.jobs("ns"); mark == before {
			t.Error("the mark has not changed")
		}
	}},
	{"a policy is not deleted while a job comes to refer to it", func(t *testing.T, f *fixture) {
		for revision := int64(1); revision <= 30; revision++ {
			p := f.putPolicy(policyRecord("p", 2*revision-1))
			_, mark := f.jobs("ns")
			var deleted, referred bool
			var wg sync.WaitGroup
			wg.Go(func() {
				gone := policyRecord("p", 2*revision)
				gone.DeleteMS = startMS
				var err error
				if deleted, err = f.store.PutPolicyUnlessJobs(t.Context(), gone, p.Revision, mark); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				rec := aJob("j")
				rec.Revision = revision
				var err error
				if referred, err = f.peer.PutJob(t.Context(), rec, 0, []*scheduler.PolicyRecord{p}); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			equal(t, "deleted or referred to, and not both", deleted != referred, true)
			if referred {
				f.deleteJob("j", revision)
				f.putPolicy(policyRecord("p", 2*revision))
			}
		}
	}},
}
