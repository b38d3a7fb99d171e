package scheduler

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRateShareDealsOutTheLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, own float64
		others     []float64
		want       float64
	}{
		{100, 0, nil, 100},
		{100, 500, nil, 100},
		{90, 500, []float64{0, 0}, 90},
		{90, 0, []float64{0, 0}, 30},
		{90, 0, []float64{500, 0}, 30},
		{90, 20, []float64{500, 0}, 30},
		{90, 500, []float64{500, 500}, 30},
		{90, 500, []float64{10, 500}, 40},
		{90, 30, []float64{15, 0}, 45},
		{90, 50, []float64{15, 40}, 37.5},
	} {
		if got := rateShare(c.limit, c.own, c.others); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("share of %v when %v is wanted, and %v elsewhere: %v, want %v", c.limit, c.own, c.others, got, c.want)
		}
	}
}

// TestRateSharesFitTogether shows that replicas that know the same use no more than the
// limit together, and all of it where they want it.
func TestRateSharesFitTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Float64Range(1, 1e6).Draw(t, "limit")
		wants := rapid.SliceOfN(rapid.Float64Range(0, 2e6), 1, 20).Draw(t, "wants")
		used, wanted := 0.0, 0.0
		for i, want := range wants {
			others := slices.Delete(slices.Clone(wants), i, i+1)
			share := rateShare(limit, want, others)
			if share < limit/float64(len(wants)) {
				t.Fatalf("replica %d of %v has %v of %v: less than an even part", i, wants, share, limit)
			}
			used += min(want, share)
			wanted += want
		}
		if want := min(limit, wanted); math.Abs(used-want) > limit*1e-6 {
			t.Fatalf("%v are used together of %v, want %v", used, limit, want)
		}
	})
}

func TestRoomSharesFitTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		left   int64
		own    float64
		others []float64
		want   int64
	}{
		{10, 5, nil, 10},
		{0, 5, nil, 0},
		{-3, 5, nil, 0},
		{90, 1, []float64{1, 1}, 30},
		{90, 100, []float64{0, 0}, 90},
		{90, 0, []float64{100, 0}, 30},
		{90, 60, []float64{30, 0}, 60},
		{1, 0, []float64{9, 9}, 1},
		{90, 0, []float64{0, 0}, 30},
	} {
		if got := roomShare(c.left, c.own, c.others); got != c.want {
			t.Errorf("room of %d by weight %v beside %v: %d, want %d", c.left, c.own, c.others, got, c.want)
		}
	}
}

func TestNotesOfOtherVersionsAreRead(t *testing.T) {
	t.Parallel()
	n, err := decodeNote([]byte(`{"a":{"r":1.5,"s":2,"x":[3]}}`))
	if err != nil || n["a"] != (noteUse{Reports: 1.5, Streams: 2}) {
		t.Errorf("read %+v, error %v", n, err)
	}
	if n, err := decodeNote([]byte("garbage")); err == nil || len(n) != 0 {
		t.Errorf("read %+v of garbage", n)
	}
}

// TestNamespacesWithDefaultsAreBounded shows that namespaces that anybody may make up
// take no more room than there is, and that those named keep theirs.
func TestNamespacesWithDefaultsAreBounded(t *testing.T) {
	t.Parallel()
	s := &Scheduler{log: slog.New(slog.DiscardHandler)}
	k := newQuotaKeeper(s)
	k.set(Quotas{Default: Quota{QuotaReports: 1}, Namespaces: map[string]Quota{"named": {QuotaReports: 5}}})
	for i := range maxDefaulted + 100 {
		k.of(fmt.Sprint("n", i))
	}
	if k.known != maxDefaulted || k.of("one more") != k.rest {
		t.Errorf("%d namespaces are known, and one more has a quota of its own: %v", k.known, k.of("one more") != k.rest)
	}
	if k.of("named").limiter.Limit() != 5 {
		t.Error("a named namespace has lost its quota")
	}
	for range idleLooks + 2 {
		k.look()
	}
	if k.known != 1 {
		t.Errorf("%d namespaces are known when nobody uses any, want the one that is named", k.known)
	}
}
