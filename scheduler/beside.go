package scheduler

import (
	"context"
	"time"
)

// besidePatience is how long hand-outs wait for what goes on beside them, which the store
// has soon done unless a node of a Cluster hangs.
const besidePatience = 5 * time.Millisecond

// beside begins something and waits for it, but not for long, unless the last time still
// lasts. When it has ended the dispatcher is woken, for what has come up meanwhile.
func (d *dispatcher) beside(ctx context.Context, busy chan struct{}, do func(context.Context)) {
	select {
	case busy <- struct{}{}:
	default:
		return
	}
	done := make(chan struct{})
	d.others.Go(func() {
		defer signal(d.wake)
		defer close(done)
		do(ctx)
		<-busy
	})
	patience := time.NewTimer(besidePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	case <-ctx.Done():
	}
}
