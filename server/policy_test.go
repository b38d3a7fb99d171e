package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

func TestPolicyLife(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	sent := fixed("p", time.Minute)
	sent.Etag, sent.Revision, sent.DeleteTime = "x", 9, timestamppb.Now()
	created, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: sent})
	if err != nil {
		t.Fatal(err)
	}
	p := created.GetPolicy()
	if p.GetRevision() != 1 || p.GetEtag() == "" || p.GetEtag() == "x" || p.GetCreateTime() == nil || p.GetDeleteTime() != nil {
		t.Errorf("created: %v", p)
	}
	if p.GetMaxLeaseExpiries() != 5 || p.GetRetention().AsDuration() != 24*time.Hour || p.GetRetryAfter().GetMode() != retryv1.RetryAfter_MODE_MAX_OF {
		t.Errorf("the defaults are not told: %v", p)
	}
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: sent}); tell(err).reason != "POLICY_EXISTS" {
		t.Errorf("created twice: %v", err)
	}
	got, err := s.pol.GetPolicy(s.ctx(), &retryv1.GetPolicyRequest{Id: "p"})
	if err != nil || !proto.Equal(got.GetPolicy(), p) {
		t.Errorf("got %v, %v, want %v", got, err, p)
	}

	// What a read gave may be written back as it is.
	change := proto.CloneOf(p)
	change.DisplayName = "changed"
	updated, err := s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Policy: change})
	if err != nil || updated.GetPolicy().GetRevision() != 2 || updated.GetPolicy().GetDisplayName() != "changed" || updated.GetPolicy().GetEtag() == p.GetEtag() {
		t.Fatalf("updated: %v, %v", updated, err)
	}
	if _, err := s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Policy: change}); tell(err).reason != "ETAG_MISMATCH" || tell(err).code != "Aborted" {
		t.Errorf("with a stale etag: %v", err)
	}
	change.Etag = ""
	if updated, err = s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Policy: change}); err != nil || updated.GetPolicy().GetRevision() != 3 {
		t.Errorf("without an etag: %v, %v", updated, err)
	}
	if _, err := s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Policy: fixed("other", 1e9)}); tell(err).reason != "POLICY_NOT_FOUND" {
		t.Errorf("an unknown one: %v", err)
	}

	for range 2 {
		deleted, err := s.pol.DeletePolicy(s.ctx(), &retryv1.DeletePolicyRequest{Id: "p"})
		if err != nil || deleted.GetPolicy().GetDeleteTime() == nil {
			t.Fatalf("deleted: %v, %v", deleted, err)
		}
	}
	if got, err := s.pol.GetPolicy(s.ctx(), &retryv1.GetPolicyRequest{Id: "p"}); err != nil || got.GetPolicy().GetDeleteTime() == nil {
		t.Errorf("a deleted one: %v, %v", got, err)
	}
	if list, err := s.pol.ListPolicies(s.ctx(), &retryv1.ListPoliciesRequest{}); err != nil || list.GetTotalSize() != 0 {
		t.Errorf("listed: %v, %v", list, err)
	}
	_, err = s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "x", Policy: "p"}, Failure: httpFailure(503)})
	if tell(err).reason != "POLICY_DELETED" {
		t.Errorf("new work: %v", err)
	}
	if _, err := s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Policy: change}); tell(err).reason != "POLICY_DELETED" {
		t.Errorf("updating a deleted one: %v", err)
	}
	for range 2 {
		back, err := s.pol.UndeletePolicy(s.ctx(), &retryv1.UndeletePolicyRequest{Id: "p"})
		if err != nil || back.GetPolicy().GetDeleteTime() != nil {
			t.Fatalf("undeleted: %v, %v", back, err)
		}
	}
	for name, call := range map[string]func() error{
		"get": func() error { _, err := s.pol.GetPolicy(s.ctx(), &retryv1.GetPolicyRequest{Id: "nope"}); return err },
		"delete": func() error {
			_, err := s.pol.DeletePolicy(s.ctx(), &retryv1.DeletePolicyRequest{Id: "nope"})
			return err
		},
		"undelete": func() error {
			_, err := s.pol.UndeletePolicy(s.ctx(), &retryv1.UndeletePolicyRequest{Id: "nope"})
			return err
		},
		"preview": func() error {
			_, err := s.pol.PreviewPolicy(s.ctx(), &retryv1.PreviewPolicyRequest{
				Source: &retryv1.PreviewPolicyRequest_PolicyId{PolicyId: "nope"}, Failures: []*retryv1.Failure{httpFailure(503)},
			})
			return err
		},
	} {
		if got := tell(call()); got.reason != "POLICY_NOT_FOUND" || got.metadata["policy"] != "nope" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestInvalidPolicyIsToldWhole(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	p := &retryv1.Policy{
		Id: "No", MaxRetries: -1, Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{}},
		Jitter:        &retryv1.Jitter{Kind: &retryv1.Jitter_Full{}},
		Rules:         []*retryv1.Rule{{MaxRetries: 1, Match: &retryv1.Match{Statuses: []string{"999"}}, Action: 99}},
		DefaultAction: retryv1.Action_ACTION_HOLD, Retention: durationpb.New(time.Second),
		PauseWindows: []*retryv1.PauseWindow{{Start: "25:00", End: "01:00", TimeZone: "Mars"}},
	}
	want := []string{
		"namespace", "policy.jitter.full", "policy.id", "policy.display_name", "policy.max_retries", "policy.fixed.delay",
		"policy.rules[0].name", "policy.rules[0].match.statuses[0]", "policy.rules[0].action", "policy.default_action",
		"policy.pause_windows[0].start", "policy.pause_windows[0].time_zone", "policy.retention",
	}
	_, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Namespace: "?", Policy: p})
	if got := tell(err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.violations, want) {
		t.Errorf("created: %+v", got)
	}
	_, err = s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{Namespace: "?", Policy: p})
	if got := tell(err); !slices.Equal(got.violations, want) {
		t.Errorf("updated: %+v", got)
	}
	_, err = s.pol.PreviewPolicy(s.ctx(), &retryv1.PreviewPolicyRequest{Namespace: "?", Source: &retryv1.PreviewPolicyRequest_Policy{Policy: p}})
	if got := tell(err); !slices.Equal(got.violations, append(want, "failures")) {
		t.Errorf("previewed: %+v", got)
	}
	for _, err := range []error{
		func() error { _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{}); return err }(),
		func() error { _, err := s.pol.UpdatePolicy(s.ctx(), &retryv1.UpdatePolicyRequest{}); return err }(),
	} {
		if got := tell(err); !slices.Equal(got.violations, []string{"policy"}) {
			t.Errorf("none: %+v", got)
		}
	}
}

func TestPolicyPages(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	var ids []string
	for i := range 120 {
		p := fixed(fmt.Sprintf("p-%03d", i), time.Minute)
		p.DisplayName = []string{"Even", "Odd"}[i%2]
		if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.GetId())
	}
	list := func(r *retryv1.ListPoliciesRequest) (got []string, pages int) {
		t.Helper()
		for {
			resp, err := s.pol.ListPolicies(s.ctx(), r)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range resp.GetPolicies() {
				got = append(got, p.GetId())
			}
			pages++
			if r.PageToken = resp.GetNextPageToken(); r.GetPageToken() == "" {
				return got, pages
			}
		}
	}
	if got, pages := list(&retryv1.ListPoliciesRequest{}); !slices.Equal(got, ids) || pages != 3 {
		t.Errorf("%d on %d pages: %q", len(got), pages, got)
	}
	if got, pages := list(&retryv1.ListPoliciesRequest{PageSize: 60}); !slices.Equal(got, ids) || pages != 2 {
		t.Errorf("%d on %d pages of 60", len(got), pages)
	}
	if got, pages := list(&retryv1.ListPoliciesRequest{PageSize: 1000, Filter: "EVE"}); len(got) != 60 || pages != 1 {
		t.Errorf("%d on %d pages with a filter", len(got), pages)
	}
	first, err := s.pol.ListPolicies(s.ctx(), &retryv1.ListPoliciesRequest{Filter: "even", PageSize: 1})
	if err != nil || first.GetTotalSize() != 60 {
		t.Fatalf("%v, %v", first, err)
	}
	for _, r := range []*retryv1.ListPoliciesRequest{
		{PageToken: first.GetNextPageToken()},
		{PageToken: first.GetNextPageToken(), Filter: "even", Namespace: "other"},
		{PageToken: "x"},
	} {
		if _, err := s.pol.ListPolicies(s.ctx(), r); !slices.Equal(tell(err).violations, []string{"page_token"}) {
			t.Errorf("%v: %+v", r, tell(err))
		}
	}
	if _, err := s.pol.ListPolicies(s.ctx(), &retryv1.ListPoliciesRequest{PageSize: 1001}); !slices.Equal(tell(err).violations, []string{"page_size"}) {
		t.Errorf("a large page: %+v", tell(err))
	}
}

func TestLargePagesEndEarly(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	for i := range 8 {
		p := fixed(fmt.Sprint("p", i), time.Minute)
		for j := range 3 {
			p.Rules = append(p.Rules, &retryv1.Rule{Action: retryv1.Action_ACTION_RETRY, Match: &retryv1.Match{
				Outcomes: slices.Repeat([]string{strings.Repeat(string(rune('a'+j)), 100)}, 1000),
			}})
		}
		if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := s.pol.ListPolicies(s.ctx(), &retryv1.ListPoliciesRequest{})
	if err != nil || len(resp.GetPolicies()) != 3 || resp.GetTotalSize() != 8 || proto.Size(resp) > 1<<20 || resp.GetNextPageToken() == "" {
		t.Errorf("%d policies in %d bytes, %v", len(resp.GetPolicies()), proto.Size(resp), err)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	p := fixed("p", time.Minute)
	p.Jitter = &retryv1.Jitter{Kind: &retryv1.Jitter_Proportional{Proportional: 0.5}}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	req := &retryv1.PreviewPolicyRequest{
		Source: &retryv1.PreviewPolicyRequest_Policy{Policy: p}, Failures: []*retryv1.Failure{httpFailure(503)}, StartTime: timestamppb.New(start),
	}
	resp, err := s.pol.PreviewPolicy(s.ctx(), req)
	if err != nil || len(resp.GetDecisions()) != 4 {
		t.Fatalf("%v, %v", resp, err)
	}
	at := start
	for i, d := range resp.GetDecisions() {
		if !d.GetFailureTime().AsTime().Equal(at) || d.GetDecision().GetAttempt() != int32(i+1) || d.GetDecision().GetPolicy() != "p" {
			t.Errorf("decision %d: %v", i, d)
		}
		if i == 3 {
			if d.GetDecision().GetReason() != retryv1.Reason_REASON_RETRIES_EXHAUSTED || d.GetEarliestTime() != nil || d.GetLatestTime() != nil {
				t.Errorf("the last: %v", d)
			}
			continue
		}
		next := d.GetDecision().GetNextAttemptTime().AsTime()
		if d.GetEarliestTime().AsTime().Sub(at) != 30*time.Second || d.GetLatestTime().AsTime().Sub(at) != 90*time.Second || next.Sub(at) < 30*time.Second || next.Sub(at) > 90*time.Second {
			t.Errorf("decision %d: %v", i, d)
		}
		at = next
	}
	req.TaskId = "preview"
	if named, err := s.pol.PreviewPolicy(s.ctx(), req); err != nil || !proto.Equal(named, resp) {
		t.Errorf("the default task is not %q: %v", req.GetTaskId(), err)
	}
	req.TaskId = "another"
	if other, err := s.pol.PreviewPolicy(s.ctx(), req); err != nil || proto.Equal(other, resp) {
		t.Errorf("another task has the same draws: %v", err)
	}
	// A preview of a policy that is kept shows what a report then gets.
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
		t.Fatal(err)
	}
	kept, err := s.pol.PreviewPolicy(s.ctx(), &retryv1.PreviewPolicyRequest{
		Source: &retryv1.PreviewPolicyRequest_PolicyId{PolicyId: "p"}, Failures: []*retryv1.Failure{httpFailure(503)}, TaskId: "real",
	})
	if err != nil {
		t.Fatal(err)
	}
	shown, got := kept.GetDecisions()[0].GetDecision(), s.fail("", "real", "p").GetDecision()
	if shown.GetDelay().AsDuration() != got.GetDelay().AsDuration() || shown.GetPolicyRevision() != got.GetPolicyRevision() {
		t.Errorf("previewed %v, got %v", shown, got)
	}
}
