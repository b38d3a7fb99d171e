package wire_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, ms := range []int64{0, 1, -1, 1_700_000_000_123, -1001} {
		if got := wire.MS(wire.Time(ms)); got != ms || !wire.Time(ms).IsValid() || wire.Time(ms).AsTime() != time.UnixMilli(ms).UTC() {
			t.Errorf("Time(%d) reads as %d", ms, got)
		}
		d := wire.Milliseconds(ms)
		if !d.IsValid() || d.AsDuration() != time.Duration(ms)*time.Millisecond {
			t.Errorf("Milliseconds(%d) reads as %v", ms, d.AsDuration())
		}
	}
	for _, ms := range []int64{math.MinInt64, math.MaxInt64} {
		if !wire.Time(ms).IsValid() || !wire.Milliseconds(ms).IsValid() {
			t.Errorf("%d is not cut to what can be written", ms)
		}
	}
	if got := wire.MS(&timestamppb.Timestamp{Seconds: 1, Nanos: 999_999_999}); got != 1999 {
		t.Errorf("a moment is rounded to %d ms, want 1999", got)
	}
	if wire.MS(nil) != 0 || wire.Duration(nil) != 0 {
		t.Error("none is not 0")
	}
}

func TestDurationRoundsUp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ d, want time.Duration }{
		{0, 0},
		{1, time.Millisecond},
		{time.Millisecond, time.Millisecond},
		{time.Millisecond + 1, 2 * time.Millisecond},
		{-1, 0},
		{-time.Millisecond - 1, -time.Millisecond},
		{math.MaxInt64, time.Duration(math.MaxInt64).Truncate(time.Millisecond)},
	} {
		if got := wire.Duration(durationpb.New(tc.d)); got != tc.want {
			t.Errorf("%v rounds to %v, want %v", tc.d, got, tc.want)
		}
	}
	if got := wire.Duration(&durationpb.Duration{Seconds: 315_576_000_000}); got <= 0 {
		t.Errorf("10,000 years read as %v", got)
	}
}

func TestCutMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		s    string
		want int
	}{
		{"", 0},
		{strings.Repeat("a", 1024), 1024},
		{strings.Repeat("a", 1025), 1024},
		{strings.Repeat("a", 1023) + "é", 1023},
		{strings.Repeat("a", 1022) + "é" + "b", 1024},
		{strings.Repeat("a", 1021) + "😀", 1021},
	} {
		got := wire.CutMessage(tc.s)
		if len(got) != tc.want || !utf8.ValidString(got) {
			t.Errorf("%d bytes are cut to %d, want %d", len(tc.s), len(got), tc.want)
		}
	}
}

// failures are one of each cause, with all that may come with it.
func failures() []*retryv1.Failure {
	with := func(f *retryv1.Failure) *retryv1.Failure {
		f.Code, f.Message, f.Permanent = "30007", "it broke", true
		f.RetryAfter = durationpb.New(1500 * time.Millisecond)
		f.Time = timestamppb.New(time.UnixMilli(1_700_000_000_001))
		return f
	}
	return []*retryv1.Failure{
		with(&retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 429, RetryAfter: "120"}}}),
		with(&retryv1.Failure{Cause: &retryv1.Failure_Grpc{Grpc: &retryv1.GrpcFailure{Code: 14}}}),
		with(&retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}}),
		with(&retryv1.Failure{Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: retryv1.ConnectionFailure_KIND_TLS}}}),
		with(&retryv1.Failure{Cause: &retryv1.Failure_Outcome{Outcome: "busy"}}),
		{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
	}
}

func TestFailureRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range failures() {
		read := wire.Failure(f)
		if v := read.Validate(); v != nil {
			t.Fatalf("%v: %v", f, v)
		}
		task := &scheduler.Task{History: []scheduler.AttemptRecord{{Failure: read}}}
		back := wire.Attempt(&scheduler.Delivery{Task: task}).GetLastFailure()
		if again := wire.Failure(back); !reflect.DeepEqual(again, read) {
			t.Errorf("got %+v, want %+v", again, read)
		}
		if back.String() != f.String() {
			t.Errorf("got %v, want %v", back, f)
		}
	}
}

// TestEnumsAgree holds the domain's numbers and names to the API's, on which the
// mapping by number rests.
func TestEnumsAgree(t *testing.T) {
	t.Parallel()
	agree := func(what string, api map[int32]string, prefix string, name func(n uint8) string) {
		for n, s := range api {
			if got := prefix + name(uint8(n)); n != 0 && got != s {
				t.Errorf("%s %d is %s in the domain and %s in the API", what, n, got, s)
			}
		}
	}
	agree("action", retryv1.Action_name, "ACTION_", func(n uint8) string { return policy.Action(n).String() })
	agree("reason", retryv1.Reason_name, "REASON_", func(n uint8) string { return policy.Reason(n).String() })
	agree("kind", retryv1.ConnectionFailure_Kind_name, "KIND_", func(n uint8) string { return policy.ConnectionKind(n).String() })
	agree("state", retryv1.Task_State_name, "STATE_", func(n uint8) string { return scheduler.State(n).String() })
	agree("mode", retryv1.RetryAfter_Mode_name, "MODE_", func(n uint8) string { return policy.RetryAfterMode(n - 1).String() })
	for trigger, want := range map[scheduler.Trigger]retryv1.Trigger{
		scheduler.TriggerNone:     retryv1.Trigger_TRIGGER_UNSPECIFIED,
		scheduler.TriggerRetry:    retryv1.Trigger_TRIGGER_RETRY,
		scheduler.TriggerReplay:   retryv1.Trigger_TRIGGER_REPLAY,
		scheduler.TriggerRetryNow: retryv1.Trigger_TRIGGER_RETRY_NOW,
		scheduler.TriggerRelease:  retryv1.Trigger_TRIGGER_RELEASE,
	} {
		if retryv1.Trigger(trigger) != want {
			t.Errorf("trigger %d is %v in the API", trigger, want)
		}
	}
}

func TestCutKeepsNothingElseAlive(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("m", 5000)
	if got := wire.CutMessage(long); unsafe.StringData(got) == unsafe.StringData(long) {
		t.Error("what is cut off is kept in memory")
	}
}

func TestDecisionSaysOnlyWhatHolds(t *testing.T) {
	t.Parallel()
	retry := wire.Decision(&policy.Decision{Action: policy.ActionRetry, Attempt: 1, NextAttempt: 2, NextMS: 5000, RetriesLeft: 3}, "p", 7)
	if retry.GetDelay() == nil || retry.GetNextAttemptTime().GetSeconds() != 5 || retry.GetNextAttempt() != 2 || retry.GetPolicyRevision() != 7 {
		t.Errorf("a retry without delay: %v", retry)
	}
	hold := wire.Decision(&policy.Decision{Action: policy.ActionHold, Attempt: 1, RetriesLeft: 3, HoldCondition: "c"}, "p", 7)
	if hold.GetDelay() != nil || hold.GetNextAttemptTime() != nil || hold.GetRetriesLeft() != 0 || hold.GetHoldCondition() != "c" {
		t.Errorf("a hold: %v", hold)
	}
	// Dates may lie further ahead than a time.Duration reaches.
	far := wire.Decision(&policy.Decision{Action: policy.ActionRetry, NextMS: 253402300799999, DelayMS: 251_702_300_799_999}, "p", 1)
	if got := far.GetDelay(); !got.IsValid() || got.GetSeconds() != 251_702_300_799 {
		t.Errorf("a far date's delay is %v", got)
	}
}
