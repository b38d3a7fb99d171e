package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// maxMS is the last millisecond of the year 9999, past which a Timestamp
	// cannot be written.
	maxMS = 253402300799999
	// minMS is the first millisecond of the year 1.
	minMS = -62135596800000
	// maxDurationMS is the longest that a Duration can hold.
	maxDurationMS = 315_576_000_000 * 1000
)

// Time returns Unix milliseconds as a Timestamp, cut to what one can hold.
func Time(ms int64) *timestamppb.Timestamp {
	ms = min(max(ms, minMS), maxMS)
	sec, rest := ms/1000, ms%1000
	if rest < 0 {
		sec, rest = sec-1, rest+1000
	}
	return &timestamppb.Timestamp{Seconds: sec, Nanos: int32(rest * 1e6)}
}

// timeOrNil is Time, with 0 for none.
func timeOrNil(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return Time(ms)
}

// MS returns a valid Timestamp as Unix milliseconds, rounded down; nil is 0.
func MS(t *timestamppb.Timestamp) int64 {
	return t.GetSeconds()*1000 + int64(t.GetNanos())/1e6
}

// Milliseconds returns milliseconds as a Duration, cut to what one can hold.
func Milliseconds(ms int64) *durationpb.Duration {
	ms = min(max(ms, -maxDurationMS), maxDurationMS)
	return &durationpb.Duration{Seconds: ms / 1000, Nanos: int32(ms % 1000 * 1e6)}
}

// Duration returns a valid Duration in whole milliseconds, rounded up; nil is
// 0, and one that is too long is the longest.
func Duration(d *durationpb.Duration) time.Duration {
	v := d.AsDuration()
	if rest := v % time.Millisecond; rest > 0 {
		if v > math.MaxInt64-time.Millisecond {
			return v - rest
		}
		return v - rest + time.Millisecond
	} else if rest < 0 {
		return v - rest
	}
	return v
}
