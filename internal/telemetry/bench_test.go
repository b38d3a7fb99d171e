package telemetry_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// retried is the report of a failure that is tried again.
func retried() (scheduler.ReportEvent, *scheduler.Task) {
	f := policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503}
	task := &scheduler.Task{
		Key: scheduler.TaskKey{Namespace: "default", ID: "order-123456"}, Spec: scheduler.Spec{Queue: "webhooks", Policy: "webhook"},
		Trigger: scheduler.TriggerRetry, Delivery: 1,
	}
	return scheduler.ReportEvent{
		Report: &scheduler.Report{Namespace: "default", ID: "order-123456", Failure: &f},
		Answer: &scheduler.Answer{TaskID: "order-123456", Record: scheduler.AttemptRecord{
			Attempt: 1, Failure: f, Policy: "webhook", PolicyRevision: 3,
			Decision: policy.Decision{Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: 1, DelayMS: 30_000, Rule: "server-errors"},
		}},
		Task: task,
	}, task
}

// BenchmarkObservers tells what each adds to a report, a hand-out and a call.
func BenchmarkObservers(b *testing.B) {
	m := telemetry.New(telemetry.Config{Log: slog.New(slog.DiscardHandler), Lines: telemetry.NewLogBuffer(io.Discard)})
	e, task := retried()
	ctx := b.Context()
	b.Run("report", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Tasks.Reported(ctx, e)
		}
	})
	b.Run("hand-out", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Tasks.HandedOut(task, 12)
		}
	})
	b.Run("call", func(b *testing.B) {
		calls := m.Calls()
		info := &grpc.UnaryServerInfo{FullMethod: retryv1.RetryService_ReportFailure_FullMethodName}
		serve := func(context.Context, any) (any, error) { return nil, nil }
		b.ReportAllocs()
		for b.Loop() {
			_, _ = calls(ctx, nil, info, serve)
		}
	})
	for name, json := range map[string]bool{"line-text": false, "line-json": true} {
		b.Run(name, func(b *testing.B) {
			lines := telemetry.NewLogBuffer(io.Discard)
			log := telemetry.NewDecisionLog(lines, json)
			b.ReportAllocs()
			next := time.Now()
			for b.Loop() {
				log.Reported(ctx, e)
				if now := time.Now(); now.After(next) {
					lines.Flush()
					next = now.Add(10 * time.Millisecond)
				}
			}
		})
	}
}
