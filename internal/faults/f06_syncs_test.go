package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/retryd/retryd/internal/redisproc"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == syncsCommand {
		if err := execWithSyncs(os.Args[2], os.Args[3:]); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestPowerTakesWhatIsNotSynced has Redis sync all that it writes, or nothing, and cuts
// the power.
func TestPowerTakesWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	for sync, want := range map[string]string{"always": "1", "no": ""} {
		ctx := t.Context()
		s, err := newSyncs(ctx, filepath.Join(t.TempDir(), "syncs"))
		if cannot, ok := errors.AsType[*cannotError](err); ok {
			t.Skip(cannot.why)
		}
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.before()
		if err != nil {
			t.Fatal(err)
		}
		redis, err := redisproc.Place{Before: before}.Start(ctx, "--appendonly", "yes", "--appendfsync", sync)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := redis.Command(ctx, "SET", "key", "1"); err != nil {
			t.Error(err)
		}
		if err := redis.Kill(); err != nil {
			t.Error(err)
		}
		lost, _, err := s.cut(redis.Dir())
		if err != nil || (lost > 0) != (want == "") {
			t.Errorf("appendfsync %s: %d bytes are lost, error %v", sync, lost, err)
		}
		if err := redis.Restart(ctx); err != nil {
			t.Error(err)
		}
		if got, err := redis.Command(ctx, "GET", "key"); err != nil || got != want {
			t.Errorf("appendfsync %s: the key is %q, error %v, want %q", sync, got, err, want)
		}
		if err := redis.Close(); err != nil {
			t.Error(err)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}
