package server_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/server"
)

func TestServerInfo(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{Version: "v1.2.3"})
	got, err := s.server.GetServerInfo(s.ctx(), &retryv1.GetServerInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	kind, found := "memory", retryv1.Durability_DURABILITY_MEMORY
	if teststore.OnRedis() {
		kind = "redis"
	}
	store := got.GetStore()
	if got.GetVersion() != "v1.2.3" || store.GetKind() != kind || store.GetShards() < 1 || store.GetDurabilityFound() != found ||
		store.GetDurabilityAsked() != retryv1.Durability_DURABILITY_UNSPECIFIED || got.GetClockOffset() == nil {
		t.Errorf("answered %v", got)
	}
}

// TestServerInfoOfAClosedServer shows that what a server is can be asked when nothing
// else can.
func TestServerInfoOfAClosedServer(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{Closed: true})
	if _, err := s.server.GetServerInfo(s.ctx(), &retryv1.GetServerInfoRequest{}); err != nil {
		t.Errorf("what it is: %v", err)
	}
	if _, err := s.queues.ListQueues(s.ctx(), &retryv1.ListQueuesRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("queues: %v", err)
	}
}
