package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

// paused is a policy whose first retry is due at once, but for its windows.
func paused(windows ...policy.PauseWindow) policy.Policy {
	p := retrying(9, delays(0))
	p.MaxRetries = 0
	p.PauseWindows = windows
	return p
}

func TestWindows(t *testing.T) {
	t.Parallel()
	daily := func(start, end, zone string) policy.PauseWindow {
		return policy.PauseWindow{Start: start, End: end, TimeZone: zone}
	}
	on := func(start, end, zone string, days ...time.Weekday) policy.PauseWindow {
		return policy.PauseWindow{Start: start, End: end, TimeZone: zone, Days: days}
	}
	once := func(start, end string) policy.PauseWindow {
		return policy.PauseWindow{StartTime: time.UnixMilli(ms(t, start)), EndTime: time.UnixMilli(ms(t, end))}
	}
	type windows = []policy.PauseWindow
	tests := []struct {
		name    string
		windows windows
		zone    string // the task's
		from    string
		want    string // "" is from itself
	}{
		{"before", windows{daily("12:00", "13:00", "")}, "", "2026-01-01T11:59:59.999Z", ""},
		{"its start is inside", windows{daily("12:00", "13:00", "")}, "", "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"},
		{"inside", windows{daily("12:00", "13:00", "")}, "", "2026-01-01T12:59:59.999Z", "2026-01-01T13:00:00Z"},
		{"its end is outside", windows{daily("12:00", "13:00", "")}, "", "2026-01-01T13:00:00Z", ""},
		{"before 1970", windows{daily("12:00", "13:00", "")}, "", "1969-07-20T12:30:00.001Z", "1969-07-20T13:00:00Z"},
		{"until 24:00", windows{daily("20:00", "24:00", "")}, "", "2026-01-01T23:59:00Z", "2026-01-02T00:00:00Z"},
		{"until 00:00", windows{daily("20:00", "00:00", "")}, "", "2026-01-01T23:59:00Z", "2026-01-02T00:00:00Z"},
		{"past midnight, the evening", windows{daily("20:00", "08:00", "")}, "", "2026-01-01T20:00:00Z", "2026-01-02T08:00:00Z"},
		{"past midnight, the morning", windows{daily("20:00", "08:00", "")}, "", "2026-01-02T07:59:00Z", "2026-01-02T08:00:00Z"},
		{"past midnight, out again", windows{daily("20:00", "08:00", "")}, "", "2026-01-02T08:00:00Z", ""},
		{"start and end the same: a whole day", windows{on("12:00", "12:00", "", time.Thursday)}, "", "2026-01-02T11:00:00Z", "2026-01-02T12:00:00Z"},
		{"its day", windows{on("12:00", "13:00", "", time.Thursday)}, "", "2026-01-01T12:30:00Z", "2026-01-01T13:00:00Z"},
		{"another day", windows{on("12:00", "13:00", "", time.Friday)}, "", "2026-01-01T12:30:00Z", ""},
		{"the day is that of its start", windows{on("20:00", "08:00", "", time.Thursday)}, "", "2026-01-02T07:00:00Z", "2026-01-02T08:00:00Z"},
		{"the day is not that of its end", windows{on("20:00", "08:00", "", time.Thursday)}, "", "2026-01-01T07:00:00Z", ""},
		{"the window's own zone", windows{daily("12:00", "13:00", "Asia/Tokyo")}, "America/New_York", "2026-01-01T03:30:00Z", "2026-01-01T04:00:00Z"},
		{"the task's zone", windows{daily("12:00", "13:00", "")}, "America/New_York", "2026-01-01T17:30:00Z", "2026-01-01T18:00:00Z"},
		{"neither: UTC", windows{daily("12:00", "13:00", "")}, "", "2026-01-01T12:30:00Z", "2026-01-01T13:00:00Z"},
		{"a task's zone that is not known: UTC", windows{daily("12:00", "13:00", "")}, "Mars/Olympus", "2026-01-01T12:30:00Z", "2026-01-01T13:00:00Z"},
		{"the weekday is the zone's", windows{on("01:00", "02:00", "Asia/Tokyo", time.Friday)}, "", "2026-01-01T16:30:00Z", "2026-01-01T17:00:00Z"},
		{"they touch", windows{daily("12:00", "13:00", ""), daily("13:00", "14:00", "")}, "", "2026-01-01T12:30:00Z", "2026-01-01T14:00:00Z"},
		{"they overlap", windows{daily("12:00", "13:30", ""), daily("13:00", "14:00", "")}, "", "2026-01-01T12:30:00Z", "2026-01-01T14:00:00Z"},
		{"one within the other", windows{daily("12:00", "15:00", ""), daily("13:00", "14:00", "")}, "", "2026-01-01T13:30:00Z", "2026-01-01T15:00:00Z"},
		{"a whole week end", windows{on("00:00", "24:00", "", time.Saturday, time.Sunday), on("18:00", "24:00", "", time.Friday)}, "", "2026-01-02T19:00:00Z", "2026-01-05T00:00:00Z"},
		{"once", windows{once("2026-01-01T12:00:00Z", "2026-01-03T06:30:00Z")}, "", "2026-01-01T12:00:00Z", "2026-01-03T06:30:00Z"},
		{"once, its end", windows{once("2026-01-01T12:00:00Z", "2026-01-03T06:30:00Z")}, "", "2026-01-03T06:30:00Z", ""},
		{"once, into a weekly one", windows{once("2026-01-01T12:00:00Z", "2026-01-03T06:30:00Z"), daily("06:00", "07:00", "")}, "", "2026-01-02T12:00:00Z", "2026-01-03T07:00:00Z"},

		// Clock changes. Berlin, 2025-03-30: 02:00 to 03:00 is skipped (01:00Z).
		{"a skipped start is the change", windows{daily("02:30", "04:00", "Europe/Berlin")}, "", "2025-03-30T01:00:00Z", "2025-03-30T02:00:00Z"},
		{"before a skipped start", windows{daily("02:30", "04:00", "Europe/Berlin")}, "", "2025-03-30T00:59:59.999Z", ""},
		{"a skipped end is the change", windows{daily("01:00", "02:30", "Europe/Berlin")}, "", "2025-03-30T00:30:00Z", "2025-03-30T01:00:00Z"},
		{"after a skipped end", windows{daily("01:00", "02:30", "Europe/Berlin")}, "", "2025-03-30T01:00:00Z", ""},
		{"skipped altogether", windows{daily("02:10", "02:50", "Europe/Berlin")}, "", "2025-03-30T01:00:00Z", ""},
		// Berlin, 2025-10-26: 02:00 to 03:00 comes twice (00:00Z and 01:00Z).
		{"a repeated start is the first", windows{daily("02:30", "04:00", "Europe/Berlin")}, "", "2025-10-26T00:30:00Z", "2025-10-26T03:00:00Z"},
		{"a repeated end is the second", windows{daily("01:00", "02:30", "Europe/Berlin")}, "", "2025-10-26T00:45:00Z", "2025-10-26T01:30:00Z"},
		{"both repeated", windows{daily("02:15", "02:30", "Europe/Berlin")}, "", "2025-10-26T00:15:00Z", "2025-10-26T01:30:00Z"},
		// Lord Howe changes by half an hour: 2025-10-05, 02:00 to 02:30 is skipped (10-04 15:30Z).
		{"half an hour skipped", windows{daily("02:10", "03:00", "Australia/Lord_Howe")}, "", "2025-10-04T15:30:00Z", "2025-10-04T16:00:00Z"},
		{"half an hour, before", windows{daily("02:10", "03:00", "Australia/Lord_Howe")}, "", "2025-10-04T15:29:00Z", ""},
		// and 2025-04-06, 01:30 to 02:00 comes twice (04-05 14:30Z and 15:00Z).
		{"half an hour repeated", windows{daily("01:40", "01:50", "Australia/Lord_Howe")}, "", "2025-04-05T14:40:00Z", "2025-04-05T15:20:00Z"},
		// Sao Paulo, 2017-10-15: 00:00 to 01:00 is skipped (03:00Z).
		{"midnight skipped: a start", windows{on("00:00", "06:00", "America/Sao_Paulo", time.Sunday)}, "", "2017-10-15T03:00:00Z", "2017-10-15T08:00:00Z"},
		{"midnight skipped: a start, before", windows{on("00:00", "06:00", "America/Sao_Paulo", time.Sunday)}, "", "2017-10-15T02:59:00Z", ""},
		{"midnight skipped: an end", windows{on("22:00", "24:00", "America/Sao_Paulo", time.Saturday)}, "", "2017-10-15T02:30:00Z", "2017-10-15T03:00:00Z"},
		// 2018-02-18: 23:00 to 24:00 of Saturday comes twice (02-18 01:00Z and 02:00Z).
		{"the last hour repeated: an end at 24:00", windows{on("22:00", "24:00", "America/Sao_Paulo", time.Saturday)}, "", "2018-02-18T01:30:00Z", "2018-02-18T03:00:00Z"},
		{"the last hour repeated: a start", windows{on("23:30", "24:00", "America/Sao_Paulo", time.Saturday)}, "", "2018-02-18T01:30:00Z", "2018-02-18T03:00:00Z"},
		// St John's, 2010-11-07 at 00:01: back to 23:01 of Saturday (02:31Z).
		{"Sunday began, and Saturday came back", windows{on("00:00", "06:00", "America/St_Johns", time.Sunday)}, "", "2010-11-07T02:45:00Z", "2010-11-07T09:30:00Z"},
		// Apia skipped Friday, 2011-12-30 (10:00Z is the change).
		{"a whole day skipped", windows{on("00:00", "24:00", "Pacific/Apia", time.Friday)}, "", "2011-12-30T10:00:00Z", ""},
		{"a start on the skipped day", windows{on("20:00", "08:00", "Pacific/Apia", time.Friday)}, "", "2011-12-30T10:00:00Z", "2011-12-30T18:00:00Z"},
		{"an end on the skipped day", windows{on("20:00", "08:00", "Pacific/Apia", time.Thursday)}, "", "2011-12-30T09:30:00Z", "2011-12-30T10:00:00Z"},
		// Casablanca leaves summer time for Ramadan: 2025-02-23 03:00 back to 02:00 (02:00Z).
		{"Ramadan", windows{daily("02:30", "02:45", "Africa/Casablanca")}, "", "2025-02-23T01:30:00Z", "2025-02-23T02:45:00Z"},
		{"Ramadan's end", windows{daily("02:30", "04:00", "Africa/Casablanca")}, "", "2025-04-06T02:00:00Z", "2025-04-06T03:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			from := ms(t, tt.from)
			want := from
			if tt.want != "" {
				want = ms(t, tt.want)
			}
			c := compile(t, paused(tt.windows...))
			st := failed(1)
			st.TimeZone = tt.zone
			d := policy.Decide(c, st, status(500), from)
			if d.NextMS != want || d.DelayMS != want-from {
				t.Errorf("next attempt at %s, want %s\n%q", utc(d.NextMS), utc(want), policy.Explain(d.Steps))
			}
			if hasStep(d, policy.StepWindow) != (want != from) {
				t.Errorf("explained as %q", policy.Explain(d.Steps))
			}
			if lo, hi := policy.Range(c, st, status(500), from); lo != want || hi != want {
				t.Errorf("range %s..%s, want %s", utc(lo), utc(hi), utc(want))
			}
			until, is := c.PausedUntil(st, from)
			if is != (want != from) || is && until != want {
				t.Errorf("paused %v until %s, want %s", is, utc(until), utc(want))
			}
		})
	}
}

// wall is the local time as seconds, as if it were UTC.
func wall(loc *time.Location, sec int64) int64 {
	t := time.Unix(sec, 0).In(loc)
	_, offset := t.Zone()
	return sec + int64(offset)
}

// clockInstant finds a local time by going through two days minute by minute,
// as somebody looking at a clock would.
func clockInstant(loc *time.Location, local int64, last bool) int64 {
	var at, gap int64
	found := false
	from := local - 26*3600
	before := wall(loc, from-60)
	for sec := from; sec <= local+26*3600; sec += 60 {
		now := wall(loc, sec)
		if now == local && (!found || last) {
			at, found = sec, true
		}
		if before < local && now > local {
			gap = sec
		}
		before = now
	}
	if found {
		return at
	}
	return gap
}

// TestWindowsAgainstTheClock holds windows around clock changes to a model that
// knows nothing but what a clock on the wall shows.
func TestWindowsAgainstTheClock(t *testing.T) {
	t.Parallel()
	changes := []struct{ zone, around string }{
		{"Europe/Berlin", "2025-03-30T01:00:00Z"},
		{"Europe/Berlin", "2025-10-26T01:00:00Z"},
		{"Europe/Berlin", "2077-03-28T01:00:00Z"}, // by the rule, beyond the tables
		{"Europe/Berlin", "2048-12-31T12:00:00Z"}, // time.Time.ZoneBounds is off there
		{"Australia/Lord_Howe", "2028-12-31T00:00:00Z"},
		{"Australia/Lord_Howe", "2049-01-01T00:00:00Z"},
		{"America/New_York", "2026-11-01T06:00:00Z"},
		{"Australia/Lord_Howe", "2025-04-05T15:00:00Z"},
		{"Australia/Lord_Howe", "2025-10-04T15:30:00Z"},
		{"America/Sao_Paulo", "2017-10-15T03:00:00Z"},
		{"America/Sao_Paulo", "2018-02-18T02:00:00Z"},
		{"America/St_Johns", "2010-11-07T02:31:00Z"},
		{"America/St_Johns", "2010-03-14T03:31:00Z"},
		{"Pacific/Apia", "2011-12-30T10:00:00Z"},
		{"Pacific/Kwajalein", "1993-08-21T12:00:00Z"},
		{"Africa/Casablanca", "2025-02-23T02:00:00Z"},
		{"Africa/Casablanca", "2025-04-06T02:00:00Z"},
		{"Africa/Cairo", "2025-10-30T21:00:00Z"},
		{"Antarctica/Troll", "2025-03-30T01:00:00Z"},
		{"Asia/Pyongyang", "2015-08-14T15:00:00Z"},
		{"Asia/Kathmandu", "2025-01-01T00:00:00Z"},
		{"Asia/Gaza", "2011-08-01T00:00:00Z"},
		{"UTC", "2025-01-01T00:00:00Z"},
	}
	for _, change := range changes {
		t.Run(change.zone+" "+change.around, func(t *testing.T) {
			t.Parallel()
			loc, err := time.LoadLocation(change.zone)
			if err != nil {
				t.Fatal(err)
			}
			around := ms(t, change.around) / 1000
			rnd := rand.New(rand.NewPCG(1, uint64(around)))
			for range 12 {
				w := randomWindow(rnd)
				c := compile(t, paused(w))
				type occurrence struct{ from, to int64 }
				var open []occurrence
				start, end := clockTimes(t, w)
				for day := around/86400 - 5; day <= around/86400+11; day++ {
					weekday := time.Unix(day*86400, 0).UTC().Weekday()
					if len(w.Days) > 0 && !slices.Contains(w.Days, weekday) {
						continue
					}
					open = append(open, occurrence{
						clockInstant(loc, day*86400+start, false), clockInstant(loc, day*86400+end, true),
					})
				}
				for sec := around - 2*86400; sec < around+2*86400; sec += 60 * (1 + rnd.Int64N(20)) {
					want := sec
					for moved := true; moved; {
						moved = false
						for _, o := range open {
							if o.from <= want && want < o.to {
								want, moved = o.to, true
							}
						}
					}
					st := failed(1)
					st.TimeZone = change.zone
					got := policy.Decide(c, st, status(500), sec*1000).NextMS
					if got != want*1000 {
						t.Fatalf("window %+v, from %s: got %s, want %s", w, utc(sec*1000), utc(got), utc(want*1000))
					}
				}
			}
		})
	}
}

func randomWindow(rnd *rand.Rand) policy.PauseWindow {
	// Clock changes happen at night: so do most of these.
	clock := func() string {
		if rnd.IntN(4) == 0 {
			return fmt.Sprintf("%02d:%02d", rnd.IntN(24), rnd.IntN(60))
		}
		return fmt.Sprintf("%02d:%02d", (22+rnd.IntN(7))%24, rnd.IntN(4)*15)
	}
	w := policy.PauseWindow{Start: clock(), End: clock()}
	if rnd.IntN(4) == 0 {
		w.End = "24:00"
	}
	// Not all days: the same start and end would pause for ever.
	for day := time.Sunday; day <= time.Saturday; day++ {
		if rnd.IntN(2) == 0 && len(w.Days) < 6 {
			w.Days = append(w.Days, day)
		}
	}
	if len(w.Days) == 0 {
		w.Days = []time.Weekday{time.Sunday}
	}
	return w
}

func clockTimes(t *testing.T, w policy.PauseWindow) (start, end int64) {
	t.Helper()
	read := func(s string) int64 {
		var h, m int64
		if _, err := fmt.Sscanf(s, "%d:%d", &h, &m); err != nil {
			t.Fatal(err)
		}
		return h*3600 + m*60
	}
	start, end = read(w.Start), read(w.End)
	if end <= start {
		end += 86400
	}
	return start, end
}

func TestWindowSpread(t *testing.T) {
	t.Parallel()
	p := paused(
		policy.PauseWindow{Start: "12:00", End: "13:00", Spread: 10 * time.Minute},
		policy.PauseWindow{Start: "13:05", End: "14:00", Spread: 20 * time.Minute},
	)
	c := compile(t, p)
	stayed, moved := 0, 0
	least, most := int64(1<<62), int64(0)
	for i := range 4000 {
		st := failed(1)
		st.TaskID = fmt.Sprint(i)
		d := policy.Decide(c, st, status(500), noonMS)
		switch at := d.NextMS - noonMS; {
		case at >= hour && at < hour+5*minute:
			stayed++
		case at >= 2*hour && at <= 2*hour+20*minute:
			moved++
			least, most = min(least, at), max(most, at)
		default:
			t.Fatalf("next attempt at %s", utc(d.NextMS))
		}
		if at, _ := c.PausedUntil(st, noonMS); at == d.NextMS {
			t.Errorf("the hand-out draws as the decision did, %s", utc(at))
		}
	}
	// Half of the first spread lies in the second window.
	if stayed < 1800 || stayed > 2200 {
		t.Errorf("%d stayed, %d moved on", stayed, moved)
	}
	if least > 2*hour+20*second || most < 2*hour+19*minute {
		t.Errorf("the second spread drew %v..%v", dur(least), dur(most))
	}
	lo, hi := policy.Range(c, failed(1), status(500), noonMS)
	if lo != noonMS+hour || hi != noonMS+2*hour+20*minute {
		t.Errorf("range %s..%s", utc(lo), utc(hi))
	}
}

// TestWindowWidestSpread: windows that end together count as one, with the
// wider spread, whatever their order.
func TestWindowWidestSpread(t *testing.T) {
	t.Parallel()
	narrow := policy.PauseWindow{Start: "11:00", End: "13:00"}
	wide := policy.PauseWindow{Start: "12:00", End: "13:00", Spread: 10 * time.Minute}
	for _, windows := range [][]policy.PauseWindow{{narrow, wide}, {wide, narrow}} {
		c := compile(t, paused(windows...))
		lo, hi := policy.Range(c, failed(1), status(500), noonMS)
		if lo != noonMS+hour || hi != noonMS+hour+10*minute {
			t.Errorf("range %s..%s", utc(lo), utc(hi))
		}
	}
}

func TestWindowsThatLeaveNothing(t *testing.T) {
	t.Parallel()
	// Free in UTC, from 20:00 to 24:00 there, but nowhere in Tokyo.
	p := paused(
		policy.PauseWindow{Start: "00:00", End: "20:00", TimeZone: "UTC"},
		policy.PauseWindow{Start: "04:00", End: "09:30"},
	)
	c := compile(t, p)
	if !c.FreeWithinYear("", noonMS) || !c.FreeWithinYear("UTC", noonMS) || !c.FreeWithinYear("America/New_York", noonMS) {
		t.Error("UTC and New York leave something free")
	}
	if c.FreeWithinYear("Asia/Tokyo", noonMS) {
		t.Error("Tokyo leaves nothing free")
	}
	st := failed(1)
	st.TimeZone = "Asia/Tokyo"
	d := policy.Decide(c, st, status(500), noonMS)
	if d.NextMS != noonMS || !hasStep(d, policy.StepWindowsIgnored) || hasStep(d, policy.StepWindow) {
		t.Errorf("next attempt at %s: %q", utc(d.NextMS), policy.Explain(d.Steps))
	}
	if lo, hi := policy.Range(c, st, status(500), noonMS); lo != noonMS || hi != noonMS {
		t.Errorf("range %s..%s", utc(lo), utc(hi))
	}
	if _, is := c.PausedUntil(st, noonMS); is {
		t.Error("paused for ever at hand-out")
	}
}

func TestWindowsLookAhead(t *testing.T) {
	t.Parallel()
	long := func(d time.Duration) policy.PauseWindow {
		at := time.UnixMilli(noonMS)
		return policy.PauseWindow{StartTime: at, EndTime: at.Add(d)}
	}
	const year = 366 * 24 * time.Hour
	if v := paused(long(year)).Validate(noonMS); v != nil {
		t.Errorf("366 days: %v", v)
	}
	if v := paused(long(year + time.Millisecond)).Validate(noonMS); len(v) != 1 || v[0].Field != "pause_windows" {
		t.Errorf("366 days and 1 ms: %v", v)
	}
	if v := paused(long(year + time.Millisecond)).Validate(noonMS - 1); v != nil {
		t.Errorf("free now: %v", v)
	}
	d := policy.Decide(policy.Compile(paused(long(year))), failed(1), status(500), noonMS)
	if d.DelayMS != 366*day || !hasStep(d, policy.StepWindow) {
		t.Errorf("delay %v", dur(d.DelayMS))
	}
	d = policy.Decide(policy.Compile(paused(long(year+time.Millisecond))), failed(1), status(500), noonMS)
	if d.DelayMS != 0 || !hasStep(d, policy.StepWindowsIgnored) {
		t.Errorf("delay %v", dur(d.DelayMS))
	}
}

// TestWindowsWithHugeSpread: draws that never meet the minute that is free must
// not lead to an attempt in a pause.
func TestWindowsWithHugeSpread(t *testing.T) {
	t.Parallel()
	c := compile(t, paused(policy.PauseWindow{Start: "12:00", End: "11:59", Spread: 23 * time.Hour}))
	free := 0
	for i := range 200 {
		st := failed(1)
		st.TaskID = fmt.Sprint(i)
		d := policy.Decide(c, st, status(500), noonMS)
		if at := time.UnixMilli(d.NextMS).UTC(); at.Hour() != 11 || at.Minute() != 59 {
			t.Fatalf("an attempt in a pause, at %s", utc(d.NextMS))
		}
		if hasStep(d, policy.StepWindowsFirstFree) {
			free++
			if d.DelayMS != 23*hour+59*minute {
				t.Errorf("the first free moment is not after %v", dur(d.DelayMS))
			}
		}
		if len(d.Steps) > 16 {
			t.Errorf("%d steps are kept", len(d.Steps))
		}
	}
	if free == 0 || free == 200 {
		t.Errorf("%d of 200 draws found nothing", free)
	}
}

func TestValidTimeZone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Etc/GMT-14", "GMT0",
		"America/Port-au-Prince", "EST5EDT", "Europe/Berlin",
	} {
		if !policy.ValidTimeZone(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{
		"", "Local", "localtime", "posixrules", "Mars/Olympus", "Europe//Berlin", "Europe/./Berlin", "./Europe/Berlin",
		"../zoneinfo/Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin/", "Europe/Berlin ", "Europe",
		"right/Europe/Berlin", "posix/Europe/Berlin", "+01:00", "UTC+1x", "tzdata.zi", "Europe/\x00Berlin", "zone.tab",
		"Europe/Berlinnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
	} {
		if policy.ValidTimeZone(name) {
			t.Errorf("%q is taken", name)
		}
	}
}
