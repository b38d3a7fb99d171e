package redisstore_test

import (
	"math"
	"time"

	"pgregory.net/rapid"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

const startMS = int64(1_767_225_600_000)

// Values that are often zero and sometimes large.
var (
	anyText      = rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(0, 300, 300))
	anyGroupName = rapid.OneOf(rapid.Just(""), rapid.StringN(0, 60, 255))
	anyInt       = rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 300), rapid.Int())
	anyCount     = rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 5), rapid.IntRange(0, math.MaxUint32-10_000))
	anyU64       = rapid.OneOf(rapid.Just[uint64](0), rapid.Uint64())
	// anyPlace is a time that has room in the fixed part of a record.
	anyPlace = rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(startMS-1e6, startMS+1e9), rapid.Int64Range(0, 1<<48-1))
	anyMS    = rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(startMS-1e6, startMS+1e9), rapid.Int64())
	anyByte  = rapid.OneOf(rapid.Just[byte](0), rapid.Byte())
	anyFence = rapid.Custom(func(t *rapid.T) scheduler.Fence {
		return scheduler.Fence{
			Number: rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(0, 1<<53-10_000)).Draw(t, "number"),
			Nonce:  anyU64.Draw(t, "nonce"),
		}
	})
	anyRules = rapid.Custom(func(t *rapid.T) []policy.RuleRetries {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.RuleRetries {
			return policy.RuleRetries{Rule: anyU64.Draw(t, "rule"), Count: anyInt.Draw(t, "count")}
		}), 0, 8).Draw(t, "rules")
		return orNil(list)
	})
)

// orNil makes an empty list what a store gives for it.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// anyTask is a task of which nothing makes sense, in any state.
func anyTask(key scheduler.TaskKey) *rapid.Generator[*scheduler.Task] {
	return rapid.Custom(func(t *rapid.T) *scheduler.Task {
		attributes := rapid.MapOfN(anyText, anyText, 0, 4).Draw(t, "attributes")
		if len(attributes) == 0 {
			attributes = nil
		}
		task := &scheduler.Task{
			Key: key, Version: rapid.Int64Range(0, 1<<53).Draw(t, "version"),
			Spec: scheduler.Spec{
				Queue: anyText.Draw(t, "queue"), Policy: anyText.Draw(t, "policy"), Job: anyText.Draw(t, "job"),
				Environment: anyText.Draw(t, "environment"), Payload: orNil(rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "payload")),
				Attributes: attributes, Group: anyGroupName.Draw(t, "group"),
				DeadlineMS: anyPlace.Draw(t, "deadline"), TimeZone: anyText.Draw(t, "zone"),
			},
			State:   scheduler.State(rapid.ByteRange(0, 7).Draw(t, "state")),
			Attempt: anyInt.Draw(t, "attempt"), Generation: rapid.OneOf(rapid.Just(1), anyInt).Draw(t, "generation"),
			FirstAttempt: rapid.OneOf(rapid.Just(1), anyInt).Draw(t, "first"), Trigger: scheduler.Trigger(anyByte.Draw(t, "trigger")),
			DueMS: anyPlace.Draw(t, "due"), Delivery: anyCount.Draw(t, "delivery"), Expiries: anyCount.Draw(t, "expiries"),
			RetriesLeft: anyInt.Draw(t, "left"), Fence: anyFence.Draw(t, "fence"), LeaseEndMS: anyPlace.Draw(t, "lease end"),
			LeaseMS: anyPlace.Draw(t, "lease"), Worker: anyText.Draw(t, "worker"), Released: anyFence.Draw(t, "released"),
			Op: scheduler.OpID(anyU64.Draw(t, "op")), FirstFailureMS: anyMS.Draw(t, "first failure"), RuleRetries: anyRules.Draw(t, "rules"),
			LastDelayMS: anyMS.Draw(t, "last delay"), LastDateMS: anyMS.Draw(t, "last date"), HoldCondition: anyText.Draw(t, "condition"),
			HoldMS: anyMS.Draw(t, "hold"), DeadReason: policy.Reason(anyByte.Draw(t, "reason")), EndMS: anyMS.Draw(t, "end"),
			ExpireMS: anyPlace.Draw(t, "expire"), Dropped: anyInt.Draw(t, "dropped"),
			Fingerprint: scheduler.Fingerprint(anyU64.Draw(t, "fingerprint")),
		}
		task.History = orNil(rapid.SliceOfN(anyRecord(task), 0, 4).Draw(t, "history"))
		return task
	})
}

// anyRecord is an attempt's record; some of its fields are often what others
// imply.
func anyRecord(task *scheduler.Task) *rapid.Generator[scheduler.AttemptRecord] {
	return rapid.Custom(func(t *rapid.T) scheduler.AttemptRecord {
		rec := scheduler.AttemptRecord{
			Attempt: anyInt.Draw(t, "attempt"), Generation: rapid.OneOf(rapid.Just(1), anyInt).Draw(t, "generation"),
			Trigger: scheduler.Trigger(anyByte.Draw(t, "trigger")), TimeMS: anyMS.Draw(t, "time"), Success: rapid.Bool().Draw(t, "success"),
			Outcome: anyText.Draw(t, "outcome"),
			Failure: policy.Failure{
				Cause: policy.Cause(anyByte.Draw(t, "cause")), HTTPStatus: anyInt.Draw(t, "status"), RetryAfterHeader: anyText.Draw(t, "header"),
				GRPCCode: anyInt.Draw(t, "code"), ConnectionKind: policy.ConnectionKind(anyByte.Draw(t, "kind")), Outcome: anyText.Draw(t, "outcome"),
				Code: anyText.Draw(t, "code"), Message: anyText.Draw(t, "message"), RetryAfter: time.Duration(anyMS.Draw(t, "retry after")),
				Permanent: rapid.Bool().Draw(t, "permanent"), TimeMS: anyMS.Draw(t, "time"),
			},
			Policy:         rapid.OneOf(rapid.Just(task.Spec.Policy), anyText).Draw(t, "policy"),
			PolicyRevision: anyMS.Draw(t, "revision"), Worker: anyText.Draw(t, "worker"), Deliveries: anyInt.Draw(t, "deliveries"),
			Key: scheduler.Digest(anyU64.Draw(t, "key")), Content: scheduler.Digest(anyU64.Draw(t, "content")),
			Fence: rapid.OneOf(rapid.Just(task.Fence), anyFence).Draw(t, "fence"), Op: scheduler.OpID(anyU64.Draw(t, "op")),
		}
		if rec.Success {
			rec.Message = anyText.Draw(t, "message")
		} else if parent := rapid.OneOf(rapid.Just(""), rapid.StringN(0, 60, 255)).Draw(t, "traceparent"); parent != "" {
			rec.Trace = scheduler.TraceContext{Parent: parent, State: anyText.Draw(t, "tracestate")}
		}
		if rapid.Bool().Draw(t, "decided") {
			rec.Decision = anyDecision(task, &rec).Draw(t, "decision")
		}
		return rec
	})
}

func anyDecision(task *scheduler.Task, rec *scheduler.AttemptRecord) *rapid.Generator[policy.Decision] {
	return rapid.Custom(func(t *rapid.T) policy.Decision {
		d := policy.Decision{
			Action: policy.Action(rapid.ByteRange(0, 3).Draw(t, "action")), Reason: policy.Reason(anyByte.Draw(t, "reason")),
			Attempt: rapid.OneOf(rapid.Just(rec.Attempt), anyInt).Draw(t, "attempt"), DelayMS: anyMS.Draw(t, "delay"),
			RetriesLeft: anyInt.Draw(t, "left"), Rule: anyText.Draw(t, "rule"), HoldCondition: anyText.Draw(t, "condition"),
			RuleRetries: rapid.OneOf(rapid.Just(task.RuleRetries), anyRules).Draw(t, "rules"), LastDateMS: anyMS.Draw(t, "last date"),
		}
		d.NextAttempt = rapid.OneOf(rapid.Just(rec.Attempt+1), anyInt).Draw(t, "next attempt")
		d.NextMS = rapid.OneOf(rapid.Just(rec.TimeMS+d.DelayMS), anyMS).Draw(t, "next")
		d.LastDelayMS = rapid.OneOf(rapid.Just(d.DelayMS), anyMS).Draw(t, "last delay")
		d.Steps = orNil(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Step {
			return policy.Step{
				Code: policy.StepCode(rapid.Byte().Draw(t, "code")),
				Args: orNil(rapid.SliceOfN(rapid.OneOf(anyMS, rapid.Map(rapid.Float64(), func(f float64) int64 { return int64(math.Float64bits(f)) })), 0, 5).Draw(t, "args")),
				Text: rapid.OneOf(rapid.Just(d.Rule), rapid.Just(d.HoldCondition), anyText).Draw(t, "text"),
			}
		}), 0, 5).Draw(t, "steps"))
		return d
	})
}
