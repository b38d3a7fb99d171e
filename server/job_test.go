package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// job creates one with a policy of its own, empty for none, and another for the
// environment prod.
func (s *site) job(id, policy, prod string) {
	s.t.Helper()
	_, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: &retryv1.Job{
		Id: id, DisplayName: "Job " + id, Policy: policy,
		Environments: map[string]*retryv1.JobEnvironment{"prod": {Policy: prod}},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestJobLife(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("slow", time.Hour)
	s.policy("quick", time.Minute)
	sent := &retryv1.Job{
		Id: "mail", DisplayName: "Mail", Policy: "slow", Revision: 9, Etag: "x",
		Environments: map[string]*retryv1.JobEnvironment{"prod:eu": {Policy: "quick"}, "test": {}},
	}
	created, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: sent})
	if err != nil {
		t.Fatal(err)
	}
	j := created.GetJob()
	if j.GetRevision() != 1 || j.GetEtag() == "" || j.GetEtag() == "x" || j.GetCreateTime() == nil || j.GetUpdateTime() == nil {
		t.Errorf("created: %v", j)
	}
	want := proto.CloneOf(sent)
	want.Revision, want.Etag, want.CreateTime, want.UpdateTime = 1, j.GetEtag(), j.GetCreateTime(), j.GetUpdateTime()
	if !proto.Equal(j, want) {
		t.Errorf("created %v, want %v", j, want)
	}
	if _, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: sent}); tell(err).reason != "JOB_EXISTS" || tell(err).code != "AlreadyExists" {
		t.Errorf("created twice: %v", err)
	}
	if got, err := s.jobs.GetJob(s.ctx(), &retryv1.GetJobRequest{Id: "mail"}); err != nil || !proto.Equal(got.GetJob(), j) {
		t.Errorf("got %v, %v, want %v", got, err, j)
	}

	// What a read gave may be written back as it is.
	change := proto.CloneOf(j)
	change.Environments = nil
	updated, err := s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{Job: change})
	if err != nil || updated.GetJob().GetRevision() != 2 || len(updated.GetJob().GetEnvironments()) != 0 || updated.GetJob().GetEtag() == j.GetEtag() {
		t.Fatalf("updated: %v, %v", updated, err)
	}
	if _, err := s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{Job: change}); tell(err).reason != "ETAG_MISMATCH" || tell(err).code != "Aborted" {
		t.Errorf("with a stale etag: %v", err)
	}
	change.Etag = ""
	if updated, err = s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{Job: change}); err != nil || updated.GetJob().GetRevision() != 3 {
		t.Errorf("without an etag: %v, %v", updated, err)
	}
	deleted, err := s.jobs.DeleteJob(s.ctx(), &retryv1.DeleteJobRequest{Id: "mail"})
	if err != nil || deleted.GetJob().GetRevision() != 3 {
		t.Errorf("deleted: %v, %v", deleted, err)
	}
	for name, call := range map[string]func() error{
		"get":    func() error { _, err := s.jobs.GetJob(s.ctx(), &retryv1.GetJobRequest{Id: "mail"}); return err },
		"update": func() error { _, err := s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{Job: change}); return err },
		"delete": func() error { _, err := s.jobs.DeleteJob(s.ctx(), &retryv1.DeleteJobRequest{Id: "mail"}); return err },
	} {
		if got := tell(call()); got.reason != "JOB_NOT_FOUND" || got.code != "NotFound" || got.metadata["job"] != "mail" {
			t.Errorf("%s after it is gone: %+v", name, got)
		}
	}
}

func TestInvalidJobIsToldWhole(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	j := &retryv1.Job{
		Id: "No", Policy: "?",
		Environments: map[string]*retryv1.JobEnvironment{"a b": {}, "prod": {Policy: "?"}},
	}
	want := []string{
		"namespace", "job.id", "job.display_name", "job.policy", `job.environments["a b"]`, `job.environments["prod"].policy`,
	}
	_, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Namespace: "?", Job: j})
	if got := tell(err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.violations, want) {
		t.Errorf("created: %+v", got)
	}
	_, err = s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{Namespace: "?", Job: j})
	if got := tell(err); !slices.Equal(got.violations, want) {
		t.Errorf("updated: %+v", got)
	}
	for name, call := range map[string]func() error{
		"create": func() error { _, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{}); return err },
		"update": func() error { _, err := s.jobs.UpdateJob(s.ctx(), &retryv1.UpdateJobRequest{}); return err },
	} {
		if got := tell(call()); !slices.Equal(got.violations, []string{"job"}) {
			t.Errorf("%s of none: %+v", name, got)
		}
	}
	for name, call := range map[string]func() error{
		"get": func() error {
			_, err := s.jobs.GetJob(s.ctx(), &retryv1.GetJobRequest{Namespace: "?", Id: "?"})
			return err
		},
		"delete": func() error {
			_, err := s.jobs.DeleteJob(s.ctx(), &retryv1.DeleteJobRequest{Namespace: "?"})
			return err
		},
	} {
		if got := tell(call()); !slices.Equal(got.violations, []string{"namespace", "id"}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	_, err = s.jobs.ListJobs(s.ctx(), &retryv1.ListJobsRequest{Namespace: "?", PageSize: -1, PageToken: "?", Filter: strings.Repeat("f", 1001)})
	if got := tell(err); !slices.Equal(got.violations, []string{"namespace", "page_size", "page_token", "filter"}) {
		t.Errorf("listed: %+v", got)
	}
}

// TestJobsAndPoliciesHoldEachOther has a job refer to policies that are not there,
// and policies be deleted that a job refers to.
func TestJobsAndPoliciesHoldEachOther(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("kept", time.Minute)
	s.policy("gone", time.Minute)
	if _, err := s.pol.DeletePolicy(s.ctx(), &retryv1.DeletePolicyRequest{Id: "gone"}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"none": "POLICY_NOT_FOUND", "gone": "POLICY_DELETED"} {
		_, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: &retryv1.Job{
			Id: "j", DisplayName: "j", Policy: "kept", Environments: map[string]*retryv1.JobEnvironment{"prod": {Policy: id}},
		}})
		if got := tell(err); got.reason != want || got.metadata["policy"] != id {
			t.Errorf("with policy %s: %+v", id, got)
		}
	}
	s.job("j", "", "kept")
	_, err := s.pol.DeletePolicy(s.ctx(), &retryv1.DeletePolicyRequest{Id: "kept"})
	if got := tell(err); got.code != "FailedPrecondition" || got.reason != "POLICY_IN_USE" || got.metadata["jobs"] != "j" {
		t.Errorf("deleted in use: %+v", got)
	}
	if _, err := s.jobs.DeleteJob(s.ctx(), &retryv1.DeleteJobRequest{Id: "j"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pol.DeletePolicy(s.ctx(), &retryv1.DeletePolicyRequest{Id: "kept"}); err != nil {
		t.Errorf("deleted when it was free: %v", err)
	}
}

func TestReportsByJob(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("slow", time.Hour)
	s.policy("quick", time.Minute)
	s.job("mail", "slow", "quick")
	s.job("bare", "", "quick")
	for _, tc := range []struct {
		job, environment, policy string
		action                   retryv1.Action
	}{
		{"mail", "prod", "quick", retryv1.Action_ACTION_RETRY},
		{"mail", "test", "slow", retryv1.Action_ACTION_RETRY},
		{"mail", "", "slow", retryv1.Action_ACTION_RETRY},
		{"bare", "test", "", retryv1.Action_ACTION_DEAD_LETTER},
	} {
		id := tc.job + tc.environment
		resp, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
			Task: &retryv1.TaskSpec{Id: id, Job: tc.job, Environment: tc.environment}, Failure: httpFailure(503),
		})
		if err != nil || resp.GetDecision().GetPolicy() != tc.policy || resp.GetDecision().GetAction() != tc.action {
			t.Errorf("%s in %q: %v, %v", tc.job, tc.environment, resp, err)
			continue
		}
		got := s.task(id)
		if got.GetPolicy() != tc.policy || got.GetJob() != tc.job || got.GetEnvironment() != tc.environment {
			t.Errorf("%s in %q: %v", tc.job, tc.environment, got)
		}
		if dead := tc.policy == ""; dead != (got.GetDeadReason() == retryv1.Reason_REASON_NO_POLICY) {
			t.Errorf("%s in %q: %v", tc.job, tc.environment, got)
		}
	}
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "x", Job: "none"}, Failure: httpFailure(503)})
	if got := tell(err); got.reason != "JOB_NOT_FOUND" || got.metadata["job"] != "none" {
		t.Errorf("an unknown job: %+v", got)
	}
}

func TestJobPages(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	var ids []string
	for i := range 7 {
		id := fmt.Sprint("j-", i)
		ids = append(ids, id)
		if _, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Job: &retryv1.Job{Id: id, DisplayName: []string{"Even", "Odd"}[i%2]}}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(r *retryv1.ListJobsRequest) (got []string, pages int) {
		t.Helper()
		for {
			resp, err := s.jobs.ListJobs(s.ctx(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range resp.GetJobs() {
				got = append(got, j.GetId())
			}
			pages++
			if r.PageToken = resp.GetNextPageToken(); r.GetPageToken() == "" {
				return got, pages
			}
		}
	}
	if got, pages := list(&retryv1.ListJobsRequest{PageSize: 3}); !slices.Equal(got, ids) || pages != 3 {
		t.Errorf("%q on %d pages", got, pages)
	}
	if got, pages := list(&retryv1.ListJobsRequest{PageSize: 2, Filter: "EVE"}); !slices.Equal(got, []string{"j-0", "j-2", "j-4", "j-6"}) || pages != 2 {
		t.Errorf("%q on %d pages", got, pages)
	}
	if resp, err := s.jobs.ListJobs(s.ctx(), &retryv1.ListJobsRequest{Filter: "odd"}); err != nil || resp.GetTotalSize() != 3 {
		t.Errorf("the odd ones: %v, %v", resp, err)
	}
	if got, _ := list(&retryv1.ListJobsRequest{Namespace: "other"}); len(got) != 0 {
		t.Errorf("in another namespace: %q", got)
	}
}
