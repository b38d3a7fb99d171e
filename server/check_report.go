package server

import (
	"fmt"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const maxBatch = 1000

// reportFailure checks a report of failure and returns it in the domain's terms.
func (c *checker) reportFailure(namespace string, r *retryv1.ReportFailureRequest) scheduler.Report {
	c.subject(namespace, r)
	report := wire.FailureReport(namespace, r)
	c.failure("failure", r.GetFailure(), report.Failure)
	c.text("idempotency_key", r.GetIdempotencyKey(), maxKeyBytes)
	return report
}

// reportSuccess checks a report of success and returns it in the domain's terms.
func (c *checker) reportSuccess(namespace string, r *retryv1.ReportSuccessRequest) scheduler.Report {
	c.subject(namespace, r)
	c.text("idempotency_key", r.GetIdempotencyKey(), maxKeyBytes)
	return wire.SuccessReport(namespace, r)
}

// subject is what a report of either kind says of the task and the attempt that
// it is of.
type subject interface {
	GetTask() *retryv1.TaskSpec
	GetAttempt() int32
	GetLeaseToken() string
	GetIdempotencyKey() string
}

func (c *checker) subject(namespace string, r subject) {
	token, id := r.GetLeaseToken(), r.GetTask().GetId()
	if token == "" && id == "" && r.GetIdempotencyKey() == "" {
		c.add("task.id", "is missing: give it, or an idempotency_key from which it is derived, or a lease_token")
	}
	c.spec(r.GetTask())
	c.attempt(r.GetAttempt())
	if token == "" {
		return
	}
	if key, ok := c.token(namespace, token); ok && id != "" && id != key.ID {
		c.add("task.id", "is %s, which is not the task that lease_token was issued for", policy.Quote(id))
	}
}

// report checks one report of a batch. Its fields are named from the report
// itself on, as if it had been sent alone.
func (c *checker) report(namespace string, r *retryv1.Report) scheduler.Report {
	switch x := r.GetReport().(type) {
	case *retryv1.Report_Failure:
		c.sameNamespace(namespace, x.Failure.GetNamespace())
		return c.reportFailure(namespace, x.Failure)
	case *retryv1.Report_Success:
		c.sameNamespace(namespace, x.Success.GetNamespace())
		return c.reportSuccess(namespace, x.Success)
	}
	c.add("report", "is missing; one of failure and success must be set")
	return scheduler.Report{Namespace: namespace}
}

func (c *checker) sameNamespace(batch, own string) {
	if own != "" && own != batch {
		c.add("namespace", "is %s in a batch of namespace %q; allowed: the batch's, or none", policy.Quote(own), batch)
	}
}

// batch checks a batch as a whole.
func (c *checker) batch(r *retryv1.BatchReportRequest) (namespace string) {
	namespace = c.namespace(r.GetNamespace())
	if n := len(r.GetReports()); n > maxBatch {
		// How many more is not known: the codec has left them out.
		c.add("reports", "has more than %d entries; allowed: 1 to %[1]d", maxBatch)
	} else if n < 1 {
		c.add("reports", "is empty; allowed: 1 to %d entries", maxBatch)
	}
	return namespace
}

func (c *checker) spec(t *retryv1.TaskSpec) {
	if t == nil {
		return
	}
	defer c.within("task.")()
	if t.GetId() != "" {
		c.taskID("id", t.GetId())
	}
	c.optionalName("queue", t.GetQueue())
	c.optionalID("policy", t.GetPolicy())
	c.optionalID("job", t.GetJob())
	if t.GetPolicy() != "" && t.GetJob() != "" {
		c.add("job", "stands beside policy; allowed: one of them")
	}
	c.optionalName("environment", t.GetEnvironment())
	if t.GetEnvironment() != "" && t.GetJob() == "" {
		c.add("environment", "stands without job; allowed: only with it")
	}
	if n := len(t.GetPayload()); n > maxPayloadBytes {
		c.tooLarge = true
		c.add("payload", "has %d bytes; allowed: at most %d", n, maxPayloadBytes)
	}
	c.attributes(t.GetAttributes())
	c.optionalName("group", t.GetGroup())
	c.time("deadline", t.GetDeadline())
	c.timeZone("time_zone", t.GetTimeZone())
}

func (c *checker) attributes(attributes map[string]string) {
	if n := len(attributes); n > maxAttributes {
		c.add("attributes", "has %d entries; allowed: at most %d", n, maxAttributes)
	}
	size := 0
	for k, v := range attributes {
		size += len(k) + len(v)
	}
	if size > maxAttributesBytes {
		c.add("attributes", "has %d bytes of keys and values; allowed: at most %d", size, maxAttributesBytes)
	}
}

func (c *checker) attempt(n int32) {
	if n < 0 || n > maxAttempt {
		c.add("attempt", "is %d; allowed: 1 to %d, or 0 for the one in turn", n, maxAttempt)
	}
}

// failure checks a failure, sent as f and read as read.
func (c *checker) failure(field string, f *retryv1.Failure, read *policy.Failure) {
	if f == nil {
		c.add(field, "is missing")
		return
	}
	defer c.within(field + ".")()
	c.merge(wire.UnreadableFailure(f), read.Validate())
	c.validDuration("retry_after", f.GetRetryAfter())
	c.validTime("time", f.GetTime())
}

// failures checks a list of them.
func (c *checker) failures(list []*retryv1.Failure, most int) []policy.Failure {
	if n := len(list); n < 1 || n > most {
		c.add("failures", "has %d entries; allowed: 1 to %d", n, most)
		if n > most {
			return nil
		}
	}
	out := make([]policy.Failure, len(list))
	for i, f := range list {
		out[i] = wire.Failure(f)
		c.failure(fmt.Sprintf("failures[%d]", i), f, &out[i])
	}
	return out
}
