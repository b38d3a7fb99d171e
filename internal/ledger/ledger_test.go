package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/ledger"
)

func TestFirstLatenessIsOfTheFirstThatCame(t *testing.T) {
	t.Parallel()
	l := ledger.New()
	for _, h := range []handout{
		handed("w", 2, 1, 100, 150, 1),
		// The worker that had it is gone, and it came again.
		handed("w", 3, 1, 200, 210, 2),
		handed("w", 3, 2, 200, 2300, 3),
		// The first delivery has come to nobody.
		handed("w", 4, 2, 300, 2500, 4),
	} {
		l.HandedOut(h.Handout)
	}
	ms := func(n ...int) (out []time.Duration) {
		for _, one := range n {
			out = append(out, time.Duration(one)*time.Millisecond)
		}
		return out
	}
	if got, want := l.FirstLateness(began), ms(11, 51, 2201); !slices.Equal(got, want) {
		t.Errorf("all: %s, want %s", got, want)
	}
	if got, want := l.FirstLateness(at(150)), ms(11, 2201); !slices.Equal(got, want) {
		t.Errorf("what fell due later: %s, want %s", got, want)
	}
}
