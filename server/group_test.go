package server_test

import (
	"slices"
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// TestGroupLife counts a group's tasks through their states, and forgets it.
func TestGroupLife(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", time.Hour)
	s.holds()
	s.die("q", "dead", "g", "")
	s.hold("q", "held", "g")
	s.counts("g", &retryv1.Group{Total: 2, Failed: 1, Pending: 1})
	if _, err := s.tasks.ReplayTask(s.ctx(), &retryv1.ReplayTaskRequest{TaskId: "dead"}); err != nil {
		t.Fatal(err)
	}
	s.counts("g", &retryv1.Group{Total: 2, Pending: 2})
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	a := w.attempt()
	s.counts("g", &retryv1.Group{Total: 2, Pending: 1, InProgress: 1})
	w.succeed(a.GetLeaseToken())
	w.result()
	if _, err := s.tasks.CancelTask(s.ctx(), &retryv1.CancelTaskRequest{TaskId: "held"}); err != nil {
		t.Fatal(err)
	}
	s.counts("g", &retryv1.Group{Total: 2, Completed: 1, Failed: 1})
	if _, err := s.groups.GetGroup(s.ctx(), &retryv1.GetGroupRequest{Namespace: "other", Group: "g"}); tell(err).reason != "GROUP_NOT_FOUND" {
		t.Errorf("from another namespace: %v", err)
	}
	if _, err := s.groups.DeleteGroup(s.ctx(), &retryv1.DeleteGroupRequest{Group: "g"}); err != nil {
		t.Fatal(err)
	}
	get := func(namespace, group string) error {
		_, err := s.groups.GetGroup(s.ctx(), &retryv1.GetGroupRequest{Namespace: namespace, Group: group})
		return err
	}
	remove := func(namespace, group string) error {
		_, err := s.groups.DeleteGroup(s.ctx(), &retryv1.DeleteGroupRequest{Namespace: namespace, Group: group})
		return err
	}
	for name, call := range map[string]func(namespace, group string) error{"get": get, "delete": remove} {
		if got := tell(call("", "g")); got.code != "NotFound" || got.reason != "GROUP_NOT_FOUND" || got.metadata["group"] != "g" {
			t.Errorf("%s when it is gone: %+v", name, got)
		}
		if got := tell(call("?", "")); !slices.Equal(got.violations, []string{"namespace", "group"}) {
			t.Errorf("%s, all bad: %+v", name, got)
		}
	}
}
