package main

import (
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redisproc"
)

// TestBareProbeCountsWhatIsKept has a probe write to a server, which forgets some of it.
func TestBareProbeCountsWhatIsKept(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	redis, err := redisproc.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	at := time.Now()
	if err := tryWrite(ctx, redis.Socket(), at, 1); err == nil {
		t.Error("a replica has confirmed, and there is none")
	}
	p := &bareProbe{}
	for _, ms := range []int{1000, 300, 100} {
		one := at.Add(time.Duration(ms) * time.Millisecond)
		if err := tryWrite(ctx, redis.Socket(), one, 0); err != nil {
			t.Fatal(err)
		}
		p.writes = append(p.writes, one)
	}
	want := func(want time.Duration) {
		t.Helper()
		if got, err := p.gap(ctx, at, redis); err != nil || got != want {
			t.Errorf("nothing was written for %s, error %v, want %s", got, err, want)
		}
	}
	want(700 * time.Millisecond)
	if _, err := redis.Command(ctx, "SREM", bareKey, member(at.Add(300*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	want(900 * time.Millisecond)
}
