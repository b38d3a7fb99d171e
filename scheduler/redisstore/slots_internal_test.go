package redisstore

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestNodesTellSoonWhichHasWhat(t *testing.T) {
	t.Parallel()
	var left time.Duration
	bounded := false
	process := slotsHook{}.ProcessHook(func(ctx context.Context, _ redis.Cmder) error {
		var deadline time.Time
		deadline, bounded = ctx.Deadline()
		left = time.Until(deadline)
		return nil
	})
	for _, c := range []struct {
		cmd  redis.Cmder
		want bool
	}{
		{redis.NewClusterSlotsCmd(t.Context(), "cluster", "slots"), true},
		{redis.NewStatusCmd(t.Context(), "cluster", "info"), false},
		{redis.NewStringCmd(t.Context(), "get", "cluster slots"), false},
	} {
		if err := process(t.Context(), c.cmd); err != nil {
			t.Fatal(err)
		}
		if bounded != c.want || (bounded && left > slotsPatience) {
			t.Errorf("%s is bounded: %t, %s; want %t", c.cmd, bounded, left, c.want)
		}
	}
}
