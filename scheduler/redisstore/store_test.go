package redisstore_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	storetest.Exercise(t, func(t *testing.T, shards int, nowMS func() int64) (store, peer scheduler.Store) {
		t.Helper()
		cfg := redisstore.Config{URL: server.URL(), Prefix: redistest.Prefix(t), Shards: shards, NowMS: nowMS}
		s := newStore(t, cfg)
		t.Cleanup(func() { wantSound(context.WithoutCancel(t.Context()), t, s) })
		return s, newStore(t, cfg)
	})
}

// newStore returns a store that is closed when the test ends.
func newStore(tb testing.TB, cfg redisstore.Config) *redisstore.Store {
	tb.Helper()
	s := openStore(tb, cfg)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

// openStore returns a store that its caller closes.
func openStore(t testFataler, cfg redisstore.Config) *redisstore.Store {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(calmHandler{slog.DiscardHandler, t})
	}
	s, err := redisstore.New(cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

// calmHandler wants no warnings.
type calmHandler struct {
	slog.Handler
	t testFataler
}

func (h calmHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h calmHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.t.Errorf("logged: %s", r.Message)
	}
	return nil
}

// textLog writes a log as text.
func textLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }
