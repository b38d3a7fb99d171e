package cli

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

const day = 24 * time.Hour

// span writes a length of time by its two largest units: 3m 20s, 2h 5m, 4d 1h.
func span(d time.Duration) string {
	if d < 0 {
		if d == math.MinInt64 {
			d++
		}
		return "-" + span(-d)
	}
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms"
	case d < 10*time.Second && d%time.Second >= 100*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return units(d, time.Second, "s", 0, "")
	case d < time.Hour:
		return units(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return units(d, time.Hour, "h", time.Minute, "m")
	default:
		return units(d, day, "d", time.Hour, "h")
	}
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := strconv.FormatInt(int64(d/large), 10) + largeName
	if small > 0 {
		if n := d % large / small; n > 0 {
			text += " " + strconv.FormatInt(int64(n), 10) + smallName
		}
	}
	return text
}

// relative writes a time as seen from now: "in 3m 20s", "5m ago".
func relative(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d > 0:
		return "in " + span(d)
	case d > -time.Millisecond:
		return "now"
	default:
		return span(-d) + " ago"
	}
}

// absolute writes a time to the millisecond, in UTC.
func absolute(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// when writes a time for a table: as seen from now, or with -o wide as it is. It is
// empty where there is none.
func (s *session) when(t *timestamppb.Timestamp) string {
	switch {
	case t == nil:
		return ""
	case s.format == formatWide:
		return absolute(t.AsTime())
	default:
		return relative(t.AsTime(), s.env.Now())
	}
}

// whenBoth writes a time in both ways.
func (s *session) whenBoth(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return absolute(t.AsTime()) + " (" + relative(t.AsTime(), s.env.Now()) + ")"
}
