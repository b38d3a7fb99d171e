package server

import (
	"fmt"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const (
	maxQueues       = 100
	maxInFlight     = 1000
	defaultInFlight = 32
)

// open checks what a worker subscribes to and returns it in the domain's terms.
func (c *checker) open(o *retryv1.Open) scheduler.SubscribeOptions {
	defer c.within("open.")()
	out := scheduler.SubscribeOptions{
		Namespace:   c.namespace(o.GetNamespace()),
		Queues:      o.GetQueues(),
		MaxInFlight: int(o.GetMaxInFlight()),
		Worker:      o.GetWorkerId(),
	}
	c.queues(o.GetQueues())
	if out.MaxInFlight == 0 {
		out.MaxInFlight = defaultInFlight
	}
	if out.MaxInFlight < 1 || out.MaxInFlight > maxInFlight {
		c.add("max_in_flight", "is %d; allowed: 1 to %d, or 0 for %d", o.GetMaxInFlight(), maxInFlight, defaultInFlight)
	}
	if out.Lease = c.lease("lease_duration", o.GetLeaseDuration()); out.Lease == 0 {
		out.Lease = defaultLease
	}
	c.worker(o.GetWorkerId())
	return out
}

func (c *checker) queues(queues []string) {
	if n := len(queues); n < 1 || n > maxQueues {
		c.add("queues", "has %d entries; allowed: 1 to %d", n, maxQueues)
		if n > maxQueues {
			return
		}
	}
	first := make(map[string]int, len(queues))
	for i, q := range queues {
		field := fmt.Sprintf("queues[%d]", i)
		c.name(field, q)
		if j, twice := first[q]; twice {
			c.add(field, "is %s, as queues[%d] is; allowed: each queue once", policy.Quote(q), j)
			continue
		}
		first[q] = i
	}
}

func (c *checker) flow(f *retryv1.Flow) {
	defer c.within("flow.")()
	if n := f.GetMaxInFlight(); n < 0 || n > maxInFlight {
		c.add("max_in_flight", "is %d; allowed: 0 to %d", n, maxInFlight)
	}
}

// outcomeReport checks an outcome that is a success or a failure, and returns it
// in the domain's terms.
func (c *checker) outcomeReport(namespace string, o *retryv1.Outcome) scheduler.Report {
	c.token(namespace, o.GetLeaseToken())
	out := scheduler.Report{
		Namespace: namespace, Token: o.GetLeaseToken(), Trace: wire.TraceContext(o.GetTraceparent(), o.GetTracestate()),
	}
	switch r := o.GetResult().(type) {
	case *retryv1.Outcome_Success:
		c.text("success.outcome", r.Success.GetOutcome(), maxKeyBytes)
		out.Outcome = r.Success.GetOutcome()
		out.Message = wire.CutMessage(r.Success.GetMessage())
	case *retryv1.Outcome_Failure:
		f := wire.Failure(r.Failure)
		c.failure("failure", r.Failure, &f)
		out.Failure = &f
	default:
		c.add("result", "is missing; one of success, failure and release must be set")
		out.Failure = &policy.Failure{}
	}
	return out
}
