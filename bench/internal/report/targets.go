package report

import (
	"fmt"

	"github.com/retryd/retryd/bench/internal/system"
)

// target is a figure that the product is to reach.
type target struct {
	text string
	// reached is what was, without one where it was not measured.
	reached func(d *data) Spread
	// atLeast or atMost is the bound; the median is held against it, or, where
	// always is set, the figure of every round.
	atLeast, atMost float64
	always          bool
}

// verdict says whether a target is met.
func (t *target) verdict(s Spread) string {
	low, high := s.Median, s.Median
	if t.always {
		low, high = s.Min, s.Max
	}
	switch {
	case s.N == 0:
		return "not measured"
	case t.atLeast != 0 && low < t.atLeast, t.atLeast == 0 && high > t.atMost:
		return "MISSED"
	default:
		return "met"
	}
}

// bound is the bound as text.
func (t *target) bound() string {
	if t.atLeast != 0 {
		return ">= " + number(t.atLeast)
	}
	return "<= " + number(t.atMost)
}

// of is a figure of the product in a step.
func of(step string, f figure) func(d *data) Spread {
	return func(d *data) Spread { return d.spread(step, system.Retryd, f) }
}

// against is the product's figure over another's, which may be of another step.
func against(step, otherStep, other string, f figure) func(d *data) Spread {
	return func(d *data) Spread {
		return ratios(d.rounds(step, system.Retryd, f), d.rounds(otherStep, other, f))
	}
}

// watched is the rate of the product that is watched over that of the one that is not.
func watched(step string) func(d *data) Spread {
	return func(d *data) Spread {
		return ratios(d.rounds(step, system.RetrydWatched, rate), d.rounds(step, system.RetrydBare, rate))
	}
}

// quicker is how many times as long another takes as the product.
func quicker(step, other string) func(d *data) Spread {
	return func(d *data) Spread {
		return ratios(d.rounds(step, other, seconds), d.rounds(step, system.Retryd, seconds))
	}
}

// targets are what the project has set itself.
func targets() []target {
	all := []target{
		{text: "W1, 64 callers: rate over a bare gRPC echo's", reached: against("W1-64", "W1-64", system.Echo, rate), atLeast: 0.55},
		{text: "W1, 256 callers: rate over a bare gRPC echo's", reached: against("W1-256", "W1-256", system.Echo, rate), atLeast: 0.55},
		{text: "W1, 64 callers: over a gRPC handler that calls asynq.Enqueue", reached: against("W1-64", "W1-64", system.GRPCAsynq, rate), atLeast: 1.25},
		{text: "W1, 256 callers: over a gRPC handler that calls asynq.Enqueue", reached: against("W1-256", "W1-256", system.GRPCAsynq, rate), atLeast: 1.4},
		{text: "W1, batches: reports/s", reached: of("W1-batch", rate), atLeast: 60_000},
		{text: "W1, batches: over asynq's in-process enqueue", reached: against("W1-batch", "W1-64", system.Asynq, rate), atLeast: 1.6},
		{text: "W1, batches: over BullMQ's addBulk", reached: against("W1-batch", "W1-batch", system.BullMQ, rate), atLeast: 3},
	}
	for _, inFlight := range []string{"64", "256"} {
		step := "W2-" + inFlight
		over := func(text, other string, atLeast float64) target {
			return target{text: fmt.Sprintf("W2, %s in flight: over %s", inFlight, text), reached: against(step, step, other, rate), atLeast: atLeast}
		}
		all = append(all,
			target{text: fmt.Sprintf("W2, %s in flight: attempts/s", inFlight), reached: of(step, rate), atLeast: 40_000},
			over("the raw full-feature scripts", system.Store, 0.6),
			over("asynq at its best", system.AsynqBest, 2.5),
			over("BullMQ", system.BullMQ, 4),
			over("River", system.River, 2),
			over("beanstalkd", system.Beanstalkd, 1),
		)
	}
	all = append(all,
		target{
			text:    "W2, 64 in flight: over asynq's defaults, from scheduled",
			reached: against("W2-64", "W2-64", system.Asynq, rate), atLeast: 15,
		},
		target{text: "W3: late p50, ms", reached: of("W3", lateP50), atMost: 1.5},
		target{text: "W3: late p99, ms", reached: of("W3", lateP99), atMost: 6},
		target{text: "W3: came early, in any round", reached: of("W3", lateEarly), always: true},
		target{text: "W3 with 1 M pending: p50 over W3's", reached: against("W5-1M-W3", "W3", system.Retryd, lateP50), atMost: 1.5},
		target{text: "W3 with 1 M pending: p99 over W3's", reached: against("W5-1M-W3", "W3", system.Retryd, lateP99), atMost: 1.5},
		target{text: "W4: s", reached: of("W4", seconds), atMost: 1.6},
	)
	for _, peer := range []string{system.Asynq, system.AsynqBest, system.BullMQ, system.River, system.Beanstalkd, system.Faktory} {
		all = append(all, target{text: "W4: time of " + peer + " over the product's", reached: quicker("W4", peer), atLeast: 1})
	}
	return append(all,
		target{text: "W5, W1 with 1 M pending: rate over that with 10 k", reached: against("W5-1M-W1", "W5-10k-W1", system.Retryd, rate), atLeast: 0.7},
		target{text: "W5, W2 with 1 M pending: rate over that with 10 k", reached: against("W5-1M-W2", "W5-10k-W2", system.Retryd, rate), atLeast: 0.7},
		target{text: "W5, W1 with 1 M pending: Redis CPU per task over that with 10 k", reached: against("W5-1M-W1", "W5-10k-W1", system.Retryd, cpu("redis")), atMost: 1.2},
		target{text: "W5, W2 with 1 M pending: Redis CPU per task over that with 10 k", reached: against("W5-1M-W2", "W5-10k-W2", system.Retryd, cpu("redis")), atMost: 1.2},
		target{text: "W6: bytes per pending task", reached: of("W6-pending", bytes), atMost: 700},
		target{text: "W6: bytes per pending task over asynq's", reached: against("W6-pending", "W6-pending", system.Asynq, bytes), atMost: 0.9},
		target{text: "W6: bytes per task ended at its first attempt", reached: of("W6-first", bytes), atMost: 300},
		target{text: "W6: bytes per task ended at its second attempt", reached: of("W6-ended", bytes), atMost: 300},
		target{text: "W10, one a call: rate with metrics, logs and access control over that without", reached: watched("W10-unary"), atLeast: 0.9},
		target{text: "W10, stream: rate with metrics, logs and access control over that without", reached: watched("W10-stream"), atLeast: 0.95},
		target{text: "Redis CPU in batches: us a report", reached: of("W1-batch", cpu("redis")), atMost: 12},
		target{text: "Redis CPU, 64 in flight: us a hand-out with its outcome", reached: of("W2-64", cpu("redis")), atMost: 16},
		target{text: "Redis CPU, 256 in flight: us a hand-out with its outcome", reached: of("W2-256", cpu("redis")), atMost: 16},
	)
}
