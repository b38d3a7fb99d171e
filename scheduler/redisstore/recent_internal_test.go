package redisstore

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatIsReadNoMoreIsDropped has many come, be read, and go.
func TestWhatIsReadNoMoreIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recent[int]
		for i := range 10_000 {
			id := fmt.Sprint(i)
			read := func(context.Context, string, string) (*int, error) { return &i, nil }
			if got, err := r.read(t.Context(), "ns", id, read); err != nil || *got != i {
				t.Fatal(got, err)
			}
			if i%2 == 0 {
				r.changed("ns", id)
			}
			<-time.After(time.Second)
			if most := int(2 * recentUsableAway / time.Second); len(r.of) > most {
				t.Fatalf("%d are kept after %d, want at most %d", len(r.of), i+1, most)
			}
		}
	})
}

// TestAReadThatOutlastsTheWordOfAChange has a change be dropped, as it was made long ago,
// before a reading ends that began before it: what it has found is not used again, not even
// while Redis is away.
func TestAReadThatOutlastsTheWordOfAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recent[int]
		key := recentKey{"ns", "id"}
		before, after := 1, 2
		if _, err := r.read(t.Context(), key.namespace, key.id, func(context.Context, string, string) (*int, error) {
			<-time.After(time.Millisecond)
			r.changed(key.namespace, key.id)
			<-time.After(recentUsableAway)
			r.changed(key.namespace, "another")
			if r.of[key] != nil {
				t.Error("the change is still known")
			}
			return &before, nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := r.failed(key, time.Now(), true); got != nil {
			t.Errorf("while Redis is away %d is used", *got)
		}
		if got, err := r.read(t.Context(), key.namespace, key.id, func(context.Context, string, string) (*int, error) { return &after, nil }); err != nil || *got != after {
			t.Errorf("it is read as %v, %v, want %d", got, err, after)
		}
	})
}
