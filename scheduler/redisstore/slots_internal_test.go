package redisstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestNodesTellSoonWhichHasWhat has a node that answers nothing: what it has not told in
// time it is given up for, and greeted aside.
func TestNodesTellSoonWhichHasWhat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		greeted := 0
		process := slotsHook{func() { greeted++ }}.ProcessHook(func(ctx context.Context, _ redis.Cmder) error {
			<-ctx.Done()
			return ctx.Err()
		})
		for _, c := range []struct {
			cmd     redis.Cmder
			want    time.Duration
			greeted int
		}{
			{redis.NewStatusCmd(t.Context(), "cluster", "info"), time.Minute, 0},
			{redis.NewStringCmd(t.Context(), "get", "cluster slots"), time.Minute, 0},
			{redis.NewClusterSlotsCmd(t.Context(), "cluster", "slots"), slotsPatience, 1},
		} {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := process(ctx, c.cmd); err == nil {
				t.Errorf("%s: no error", c.cmd)
			}
			cancel()
			if took := time.Since(began); took != c.want || greeted != c.greeted {
				t.Errorf("%s took %s, with %d greets; want %s, %d", c.cmd, took, greeted, c.want, c.greeted)
			}
		}
	})
}
