package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// billing is a job with a policy of its own, an override, and an environment
// that takes the job's.
func billing(change ...func(*scheduler.Job)) scheduler.Job {
	j := scheduler.Job{
		ID: "billing", DisplayName: "Nightly Billing", Policy: "minute",
		Environments: map[string]string{"prod": "never", "test": ""},
	}
	for _, c := range change {
		c(&j)
	}
	return j
}

func (w *world) createJob(j scheduler.Job) *scheduler.JobRecord {
	w.t.Helper()
	rec, err := w.s.CreateJob(w.ctx, "ns", j)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// of reports for a job in an environment, and for no policy.
func of(job, environment string) func(*scheduler.Report) {
	return func(r *scheduler.Report) { r.Spec.Policy, r.Spec.Job, r.Spec.Environment = "", job, environment }
}

func TestJobsAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		given := billing()
		rec := w.createJob(given)
		given.Environments["prod"] = "changed by its caller"
		nowMS := time.Now().UnixMilli()
		equal(t, "created", rec, &scheduler.JobRecord{Namespace: "ns", Job: billing(), Revision: 1, CreateMS: nowMS, UpdateMS: nowMS})
		_, err := w.s.CreateJob(w.ctx, "ns", billing())
		equal(t, "job", kindOf(t, err, scheduler.KindJobExists).Metadata["job"], "billing")

		w.pass(time.Second)
		next := billing(func(j *scheduler.Job) { j.DisplayName, j.Policy, j.Environments = "Billing", "", nil })
		_, err = w.s.UpdateJob(w.ctx, "ns", next, "stale")
		equal(t, "job", kindOf(t, err, scheduler.KindEtagMismatch).Metadata["job"], "billing")
		updated, err := w.s.UpdateJob(w.ctx, "ns", next, rec.Etag())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "updated", updated, &scheduler.JobRecord{Namespace: "ns", Job: next, Revision: 2, CreateMS: nowMS, UpdateMS: nowMS + 1000})
		if updated.Etag() == rec.Etag() {
			t.Error("the etag is still the same")
		}
		if _, err = w.s.UpdateJob(w.ctx, "ns", next, ""); err != nil {
			t.Errorf("without an etag: %v", err)
		}
		got, err := w.s.Job(w.ctx, "ns", "billing")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "job and revision", []any{got.Job, got.Revision}, []any{next, int64(3)})

		gone, err := w.s.DeleteJob(w.ctx, "ns", "billing")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "deleted", gone, got)
		for name, call := range map[string]func() error{
			"Job":       func() error { _, err := w.s.Job(w.ctx, "ns", "billing"); return err },
			"UpdateJob": func() error { _, err := w.s.UpdateJob(w.ctx, "ns", next, ""); return err },
			"DeleteJob": func() error { _, err := w.s.DeleteJob(w.ctx, "ns", "billing"); return err },
			"another's": func() error { _, err := w.s.Job(w.ctx, "other", "billing"); return err },
		} {
			if e := kindOf(t, call(), scheduler.KindJobNotFound); e.Metadata["job"] != "billing" {
				t.Errorf("%s: metadata %v", name, e.Metadata)
			}
		}
		w.createJob(billing()) // deleted for good: the id is free
	})
}

func TestJobsAreListed(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, id := range []string{"c", "a", "b"} {
			w.createJob(billing(func(j *scheduler.Job) { j.ID, j.DisplayName = id, "Job "+strings.ToUpper(id) }))
		}
		ids := func(namespace, filter string) string {
			jobs, err := w.s.Jobs(w.ctx, namespace, filter)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, rec := range jobs {
				out = append(out, rec.Job.ID)
			}
			return strings.Join(out, " ")
		}
		equal(t, "jobs", []string{ids("ns", ""), ids("ns", "OB b"), ids("ns", "x"), ids("other", "")}, []string{"a b c", "b", "", ""})
	})
}

func TestJobIsRefusedWithAllThatIsWrong(t *testing.T) {
	inWorld(t, func(w *world) {
		bad := scheduler.Job{ID: "Billing", Policy: "No Policy", Environments: map[string]string{
			"prod": "P", "no name": "minute", "": "", strings.Repeat("e", 101): "", "eu/prod:1": "minute",
		}}
		want := []string{
			"job.id", "job.display_name", "job.policy", `job.environments[""]`,
			`job.environments["` + strings.Repeat("e", 100) + `"... (101 bytes)]`,
			`job.environments["no name"]`, `job.environments["prod"].policy`,
		}
		for name, call := range map[string]func() error{
			"CreateJob": func() error { _, err := w.s.CreateJob(w.ctx, "ns", bad); return err },
			"UpdateJob": func() error { _, err := w.s.UpdateJob(w.ctx, "ns", bad, ""); return err },
		} {
			var fields []string
			for _, v := range kindOf(t, call(), scheduler.KindInvalid).Violations {
				fields = append(fields, v.Field)
			}
			equal(t, name+": fields", fields, want)
		}
		many := billing(func(j *scheduler.Job) {
			for i := range scheduler.MaxEnvironments {
				j.Environments[fmt.Sprint("e", i)] = ""
			}
		})
		_, err := w.s.CreateJob(w.ctx, "ns", many)
		equal(t, "violations", kindOf(t, err, scheduler.KindInvalid).Violations,
			[]policy.Violation{{Field: "job.environments", Description: "has 1002 entries; allowed: at most 1000"}})
		delete(many.Environments, "prod")
		delete(many.Environments, "test")
		w.createJob(many)
	})
}

func TestJobRefersToPoliciesInUse(t *testing.T) {
	inWorld(t, func(w *world) {
		unknown := billing(func(j *scheduler.Job) { j.Policy, j.Environments["prod"] = "nobody", "none" })
		_, err := w.s.CreateJob(w.ctx, "ns", unknown)
		equal(t, "unknown", kindOf(t, err, scheduler.KindPolicyNotFound).Metadata, map[string]string{"policy": "nobody,none"})
		many := billing(func(j *scheduler.Job) {
			for i := range 25 {
				j.Environments[fmt.Sprint("e", i)] = fmt.Sprintf("p%02d", i)
			}
		})
		_, err = w.s.CreateJob(w.ctx, "ns", many)
		e := kindOf(t, err, scheduler.KindPolicyNotFound)
		equal(t, "named and more", []any{strings.Count(e.Metadata["policy"], ",") + 1, e.Metadata["more"]}, []any{20, "5"})
		if !strings.Contains(err.Error(), `"p19" and 5 more`) {
			t.Errorf("error %q", err)
		}
		if _, err := w.s.DeletePolicy(w.ctx, "ns", "never", ""); err != nil {
			t.Fatal(err)
		}
		_, err = w.s.CreateJob(w.ctx, "ns", billing())
		equal(t, "deleted", kindOf(t, err, scheduler.KindPolicyDeleted).Metadata, map[string]string{"policy": "never"})
		w.createJob(billing(func(j *scheduler.Job) { delete(j.Environments, "prod") }))
		_, err = w.s.UpdateJob(w.ctx, "ns", billing(), "")
		kindOf(t, err, scheduler.KindPolicyDeleted)
		_, err = w.s.UpdateJob(w.ctx, "ns", unknown, "")
		kindOf(t, err, scheduler.KindPolicyNotFound)
	})
}

func TestPolicyInUseIsNotDeleted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.createJob(billing())
		w.createJob(billing(func(j *scheduler.Job) { j.ID, j.Policy = "another", "never" }))
		_, err := w.s.DeletePolicy(w.ctx, "ns", "never", "")
		equal(t, "in use", kindOf(t, err, scheduler.KindPolicyInUse).Metadata, map[string]string{"policy": "never", "jobs": "another,billing"})
		_, err = w.s.DeletePolicy(w.ctx, "ns", "minute", "")
		equal(t, "in use", kindOf(t, err, scheduler.KindPolicyInUse).Metadata["jobs"], "billing")
		for i := range 30 {
			w.createJob(billing(func(j *scheduler.Job) { j.ID = fmt.Sprintf("j%02d", i) }))
		}
		_, err = w.s.DeletePolicy(w.ctx, "ns", "minute", "")
		e := kindOf(t, err, scheduler.KindPolicyInUse)
		equal(t, "named and more", []any{strings.Count(e.Metadata["jobs"], ",") + 1, e.Metadata["more"]}, []any{20, "11"})

		// Whose policy it was before, and whose it is in another namespace, is no use.
		for _, rec := range w.jobs() {
			if _, err := w.s.UpdateJob(w.ctx, "ns", scheduler.Job{ID: rec.Job.ID, DisplayName: "J", Policy: "now"}, ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"never", "minute"} {
			if _, err := w.s.DeletePolicy(w.ctx, "ns", id, ""); err != nil {
				t.Error(err)
			}
			if _, err := w.s.DeletePolicy(w.ctx, "ns", id, ""); err != nil {
				t.Errorf("a repeat: %v", err)
			}
		}
	})
}

// jobs are all jobs there are.
func (w *world) jobs() []*scheduler.JobRecord {
	w.t.Helper()
	jobs, err := w.s.Jobs(w.ctx, "ns", "")
	if err != nil {
		w.t.Fatal(err)
	}
	return jobs
}

func (w *world) policy(id string) *scheduler.PolicyRecord {
	w.t.Helper()
	rec, err := w.s.Policy(w.ctx, "ns", id)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// interposed is a store that lets something happen before it writes a job, or a
// policy that no job may refer to.
type interposed struct {
	scheduler.Store
	before func()
}

func (s *interposed) interpose() {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
}

func (s *interposed) PutJob(ctx context.Context, rec *scheduler.JobRecord, expect int64, policies []*scheduler.PolicyRecord) (bool, error) {
	s.interpose()
	return s.Store.PutJob(ctx, rec, expect, policies)
}

func (s *interposed) DeleteJob(ctx context.Context, namespace, id string, expect int64) (bool, error) {
	s.interpose()
	return s.Store.DeleteJob(ctx, namespace, id, expect)
}

func (s *interposed) PutPolicyUnlessJobs(ctx context.Context, rec *scheduler.PolicyRecord, expect int64, mark scheduler.JobsMark) (bool, error) {
	s.interpose()
	return s.Store.PutPolicyUnlessJobs(ctx, rec, expect, mark)
}

// Whatever happens between the look and the write, no job refers to a policy that
// is deleted, and no change undoes another.
func TestJobsAndPoliciesInEachOthersWay(t *testing.T) {
	t.Parallel()
	create := func(w *world) error { _, err := w.s.CreateJob(w.ctx, "ns", billing()); return err }
	update := func(w *world) error { _, err := w.s.UpdateJob(w.ctx, "ns", billing(), ""); return err }
	remove := func(w *world) error { _, err := w.s.DeleteJob(w.ctx, "ns", "billing"); return err }
	deletePolicy := func(w *world) error { _, err := w.s.DeletePolicy(w.ctx, "ns", "never", ""); return err }
	updatePolicy := func(w *world) error {
		p := w.policy("never").Policy
		p.DisplayName = "changed"
		_, err := w.s.UpdatePolicy(w.ctx, "ns", p, "")
		return err
	}
	without := func(w *world) error {
		_, err := w.s.UpdateJob(w.ctx, "ns", billing(func(j *scheduler.Job) { j.Environments = nil }), "")
		return err
	}
	stale := func(w *world) error {
		etag := w.jobs()[0].Etag()
		_, err := w.s.UpdateJob(w.ctx, "ns", billing(), etag)
		return err
	}
	nothing := func(*world) error { return nil }
	for name, c := range map[string]struct {
		first, call, meanwhile func(w *world) error
		want                   scheduler.Kind // 0 is none
	}{
		"create, meanwhile the policy is deleted":  {nothing, create, deletePolicy, scheduler.KindPolicyDeleted},
		"create, meanwhile the policy is updated":  {nothing, create, updatePolicy, 0},
		"create, meanwhile another creates it":     {nothing, create, create, scheduler.KindJobExists},
		"update, meanwhile the policy is deleted":  {func(w *world) error { return errors.Join(create(w), without(w)) }, update, deletePolicy, scheduler.KindPolicyDeleted},
		"update, meanwhile it is deleted":          {create, update, remove, scheduler.KindJobNotFound},
		"update, meanwhile another updates it":     {create, stale, update, scheduler.KindEtagMismatch},
		"delete, meanwhile another updates it":     {create, remove, update, 0},
		"delete, meanwhile another deletes it":     {create, remove, remove, scheduler.KindJobNotFound},
		"delete the policy, meanwhile a job comes": {nothing, deletePolicy, create, scheduler.KindPolicyInUse},
		"delete the policy, meanwhile a job goes":  {func(w *world) error { return errors.Join(create(w), without(w)) }, deletePolicy, remove, 0},
		"delete the policy, meanwhile it changes":  {nothing, deletePolicy, updatePolicy, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOn(t, func(store scheduler.Store) scheduler.Store { return &interposed{Store: store} }, func(w *world) {
				if err := c.first(w); err != nil {
					t.Fatal(err)
				}
				happened := false
				w.store.(*interposed).before = func() {
					happened = true
					if err := c.meanwhile(w); err != nil {
						t.Error(err)
					}
				}
				err := c.call(w)
				if c.want == 0 && err != nil {
					t.Error(err)
				}
				if c.want != 0 {
					kindOf(t, err, c.want)
				}
				if !happened {
					t.Error("nothing was written")
				}
				w.wantNoReferenceToDeleted()
			})
		})
	}
}

// wantNoReferenceToDeleted wants every job's policies to be there.
func (w *world) wantNoReferenceToDeleted() {
	w.t.Helper()
	for _, rec := range w.jobs() {
		for _, id := range rec.Job.Policies() {
			if pol := w.policy(id); pol.DeleteMS != 0 {
				w.t.Errorf("job %s refers to policy %s: %+v", rec.Job.ID, id, pol)
			}
		}
	}
}

func TestJobsAndPoliciesFromManyAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		var wg sync.WaitGroup
		for i := range 40 {
			s := w.s
			if i%2 == 0 {
				s = other
			}
			wg.Go(func() {
				id := fmt.Sprint("j", i%5)
				for _, call := range []func() error{
					func() error {
						_, err := s.CreateJob(w.ctx, "ns", billing(func(j *scheduler.Job) { j.ID = id }))
						return err
					},
					func() error { _, err := s.DeletePolicy(w.ctx, "ns", "never", ""); return err },
					func() error { _, err := s.DeleteJob(w.ctx, "ns", id); return err },
					func() error { _, err := s.UndeletePolicy(w.ctx, "ns", "never"); return err },
				} {
					var e *scheduler.Error
					if err := call(); err != nil && !errors.As(err, &e) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		w.wantNoReferenceToDeleted()
	})
}

func TestJobGivesItsPolicyForTheEnvironment(t *testing.T) {
	inWorld(t, func(w *world) {
		w.createJob(billing())
		for environment, want := range map[string]struct {
			policy string
			reason policy.Reason
		}{
			"prod":       {"never", policy.ReasonRetriesExhausted},
			"test":       {"minute", policy.ReasonRetryScheduled},
			"not listed": {"minute", policy.ReasonRetryScheduled},
			"":           {"minute", policy.ReasonRetryScheduled},
		} {
			id := "of " + environment
			a := w.report(failure(id, of("billing", environment)))
			equal(t, id, []any{a.Record.Policy, a.Record.Decision.Reason}, []any{want.policy, want.reason})
			spec := w.load(id).Spec
			equal(t, id, []string{spec.Policy, spec.Job, spec.Environment}, []string{want.policy, "billing", environment})
		}
		equal(t, "job", w.refused(failure("a", of("nobody", "prod")), scheduler.KindJobNotFound).Metadata["job"], "nobody")
		w.refused(failure("a", of("billing", "prod"), func(r *scheduler.Report) { r.Namespace = "other" }), scheduler.KindJobNotFound)
	})
}

func TestFirstSuccessOfAJobNeedsNoPolicy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(success("a", of("nobody knows", "prod")))
		spec := w.wantState("a", scheduler.StateSucceeded).Spec
		equal(t, "policy and job", []string{spec.Policy, spec.Job}, []string{"", "nobody knows"})
	})
}

// What a task's job gave it at the first report stays its own.
func TestTaskKeepsThePolicyOfItsJob(t *testing.T) {
	inWorld(t, func(w *world) {
		w.createJob(billing())
		first := w.report(failure("a", of("billing", "test"), keyed("k"), attempt(1)))
		if _, err := w.s.UpdateJob(w.ctx, "ns", billing(func(j *scheduler.Job) { j.Policy = "never" }), ""); err != nil {
			t.Fatal(err)
		}
		w.sameAnswer(first, w.report(failure("a", of("billing", "test"), keyed("k"), attempt(1))))
		w.refused(failure("a", of("billing", "prod"), keyed("k"), attempt(1)), scheduler.KindKeyReused)
		second := w.report(failure("a", of("billing", "test"), attempt(2)))
		equal(t, "policy and reason", []any{second.Record.Policy, second.Record.Decision.Reason}, []any{"minute", policy.ReasonRetryScheduled})
		if _, err := w.s.DeleteJob(w.ctx, "ns", "billing"); err != nil {
			t.Fatal(err)
		}
		equal(t, "policy", w.report(failure("a", of("billing", ""), func(r *scheduler.Report) { r.Spec.Job = "" }, attempt(3))).Record.Policy, "minute")
		equal(t, "field", w.refused(failure("a", attempt(4), of("billing", "prod")), scheduler.KindInvalid).Violations[0].Field, "task.environment")
		equal(t, "field", w.refused(failure("a", attempt(4), of("other", "test")), scheduler.KindInvalid).Violations[0].Field, "task.job")
		equal(t, "field", w.refused(failure("a", attempt(4), by("never")), scheduler.KindInvalid).Violations[0].Field, "task.policy")
		last := w.report(failure("a", attempt(4), by("minute")))
		equal(t, "reason", last.Record.Decision.Reason, policy.ReasonRetriesExhausted)
	})
}

// A job that has changed within the last second may still be seen as it was, with a
// policy that has been deleted since: the task is one of before.
func TestJobSeenLateGivesADeletedPolicy(t *testing.T) {
	inWorldOn(t, func(store scheduler.Store) scheduler.Store { return &lateJobs{Store: store} }, func(w *world) {
		w.createJob(billing())
		w.store.(*lateJobs).seen = w.jobs()[0]
		if _, err := w.s.UpdateJob(w.ctx, "ns", billing(func(j *scheduler.Job) { j.Policy = "never" }), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.DeletePolicy(w.ctx, "ns", "minute", ""); err != nil {
			t.Fatal(err)
		}
		equal(t, "policy", w.report(failure("a", of("billing", "test"))).Record.Policy, "minute")
		w.refused(failure("b", by("minute")), scheduler.KindPolicyDeleted)
	})
}

// lateJobs is a store whose RecentJob has not heard of the newest change.
type lateJobs struct {
	scheduler.Store
	seen *scheduler.JobRecord
}

func (s *lateJobs) RecentJob(context.Context, string, string) (*scheduler.JobRecord, error) {
	return s.seen, nil
}

func TestJobWithoutAPolicyMakesDeadLetters(t *testing.T) {
	inWorld(t, func(w *world) {
		w.createJob(billing(func(j *scheduler.Job) { j.Policy = "" }))
		a := w.report(failure("a", of("billing", "test"), keyed("k")))
		equal(t, "decision", []any{a.Record.Decision.Action, a.Record.Decision.Reason}, []any{policy.ActionDeadLetter, policy.ReasonNoPolicy})
		equal(t, "explanation", policy.Explain(a.Record.Decision.Steps), []string{"The task has no policy: its job names none for its environment, and none of its own."})
		w.sameAnswer(a, w.report(failure("a", of("billing", "test"), keyed("k"))))
		task := w.wantState("a", scheduler.StateDead)
		equal(t, "kept for", task.ExpireMS-task.EndMS, (30 * 24 * time.Hour).Milliseconds())

		// Still none: one more attempt, and dead again.
		w.replay("a")
		task = w.wantState("a", scheduler.StateScheduled)
		equal(t, "policy and retries left", []any{task.Spec.Policy, task.RetriesLeft}, []any{"", 0})
		b := w.report(failure("a", bare, attempt(2)))
		equal(t, "reason", b.Record.Decision.Reason, policy.ReasonNoPolicy)

		if _, err := w.s.UpdateJob(w.ctx, "ns", billing(), ""); err != nil {
			t.Fatal(err)
		}
		w.report(failure("late", of("billing", "test")))
		equal(t, "policy of a new task", w.load("late").Spec.Policy, "minute")
		w.replay("a")
		task = w.wantState("a", scheduler.StateScheduled)
		equal(t, "policy and retries left", []any{task.Spec.Policy, task.RetriesLeft}, []any{"minute", 3})
		c := w.report(failure("a", bare, attempt(3)))
		equal(t, "reason and next attempt", []any{c.Record.Decision.Reason, c.Record.Decision.NextAttempt}, []any{policy.ReasonRetryScheduled, 4})

		w.report(failure("b", of("billing", "prod"), func(r *scheduler.Report) { r.Spec.Environment = "prod" }))
		if _, err := w.s.DeleteJob(w.ctx, "ns", "billing"); err != nil {
			t.Fatal(err)
		}
		w.replay("b") // has its policy from before
		equal(t, "policy", w.load("b").Spec.Policy, "never")
	})
}

func TestReplayWithoutTheJob(t *testing.T) {
	inWorld(t, func(w *world) {
		w.createJob(billing(func(j *scheduler.Job) { j.Policy = "" }))
		w.report(failure("a", of("billing", "test")))
		if _, err := w.s.DeleteJob(w.ctx, "ns", "billing"); err != nil {
			t.Fatal(err)
		}
		w.replay("a")
		equal(t, "reason", w.report(failure("a", bare)).Record.Decision.Reason, policy.ReasonNoPolicy)
	})
}
