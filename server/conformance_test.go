package server_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/server"
)

func loadConformance(t *testing.T) []conformance.File {
	t.Helper()
	files, err := conformance.Load("../policy/testdata/conformance")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// decode reads the API's JSON.
func decode[M any, P interface {
	*M
	proto.Message
}](tb testing.TB, data []byte) P {
	tb.Helper()
	msg := P(new(M))
	if err := protojson.Unmarshal(data, msg); err != nil {
		tb.Fatal(err)
	}
	return msg
}

// TestConformance runs every case over the wire: its policy is created, read
// from the API's own JSON, and previewed with the case's failures.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	for _, file := range loadConformance(t) {
		ns := file.Name
		for _, p := range file.Policies {
			if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: ns, Policy: decode[retryv1.Policy](t, p.JSON)}); err != nil {
				t.Fatalf("%s: %v", ns, err)
			}
		}
		for _, c := range file.Cases {
			t.Run(ns+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				req := &retryv1.PreviewPolicyRequest{
					Namespace: ns,
					Source:    &retryv1.PreviewPolicyRequest_PolicyId{PolicyId: c.Policy},
					StartTime: timestamppb.New(c.Start),
				}
				if !c.Deadline.IsZero() {
					req.Deadline = timestamppb.New(c.Deadline)
				}
				for _, step := range c.Steps {
					if !step.At.IsZero() {
						t.Skip("a preview's failures happen when their attempts are due")
					}
					req.Failures = append(req.Failures, decode[retryv1.Failure](t, step.Failure.JSON))
				}
				resp, err := s.pol.PreviewPolicy(s.ctx(), req)
				if err != nil {
					t.Fatal(err)
				}
				if len(resp.GetDecisions()) < len(c.Steps) {
					t.Fatalf("%d decisions for %d failures: %v", len(resp.GetDecisions()), len(c.Steps), resp)
				}
				for i, step := range c.Steps {
					holdTo(t, i, resp.GetDecisions()[i].GetDecision(), step.Expect)
				}
			})
		}
		for _, p := range file.InvalidPolicies {
			_, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: ns, Policy: decode[retryv1.Policy](t, p.JSON)})
			if got := tell(err); got.reason != "INVALID_REQUEST" || len(got.violations) == 0 {
				t.Errorf("%s, %s: %+v", ns, p.Why, got)
			}
		}
	}
}

// TestConformanceOfJobs reports first failures by job and environment.
func TestConformanceOfJobs(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	played := 0
	for _, file := range loadConformance(t) {
		ns := file.Name
		if len(file.JobCases) == 0 {
			continue
		}
		for _, p := range file.Policies {
			if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: ns, Policy: decode[retryv1.Policy](t, p.JSON)}); err != nil {
				t.Fatalf("%s: %v", ns, err)
			}
		}
		jobs := []json.RawMessage{file.Job}
		for _, c := range file.JobCases {
			if c.Job != nil {
				jobs = append(jobs, c.Job)
			}
		}
		for _, job := range jobs {
			if _, err := s.jobs.CreateJob(s.ctx(), &retryv1.CreateJobRequest{Namespace: ns, Job: decode[retryv1.Job](t, job)}); err != nil {
				t.Fatalf("%s: %v", ns, err)
			}
		}
		for i, c := range file.JobCases {
			named := c.Job
			if named == nil {
				named = file.Job
			}
			job := decode[retryv1.Job](t, named)
			resp, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
				Namespace: ns,
				Task:      &retryv1.TaskSpec{Id: fmt.Sprintf("run-%d", i), Job: job.GetId(), Environment: c.Environment},
				Failure:   decode[retryv1.Failure](t, c.Failure.JSON),
			})
			if err != nil {
				t.Fatalf("%s, job case %d: %v", ns, i, err)
			}
			holdTo(t, i, resp.GetDecision(), c.Expect)
			played++
		}
	}
	if played == 0 {
		t.Error("no file has cases of jobs")
	}
}

func holdTo(tb testing.TB, i int, d *retryv1.Decision, e conformance.Expect) {
	tb.Helper()
	delay, next := d.GetDelay().AsDuration(), d.GetNextAttemptTime().AsTime()
	switch {
	case d.GetAction().String() != "ACTION_"+e.Action.String() || d.GetReason().String() != "REASON_"+e.Reason.String(),
		int(d.GetNextAttempt()) != e.NextAttempt,
		d.GetHoldCondition() != e.HoldCondition,
		e.DelayMin != nil && delay < *e.DelayMin,
		e.DelayMax != nil && delay > *e.DelayMax,
		e.TimeMin != nil && next.Before(*e.TimeMin),
		e.TimeMax != nil && next.After(*e.TimeMax):
		tb.Errorf("step %d: got %v\nwant %+v", i+1, d, e)
	}
}
