package policy

import (
	"math"
	"sync"
	"time"
	_ "time/tzdata" // zones must be there on machines and in images without them
)

// zones keeps loaded zones, since reading one costs more than the rest of a
// decision. It is transparent: a name always means the same zone. Only names
// that load are kept, and their spelling is restricted, so that whoever sends
// names cannot make it grow.
var zones zoneCache

type zoneCache struct {
	mu     sync.RWMutex
	byName map[string]*time.Location
}

func (c *zoneCache) load(name string) *time.Location {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byName[name]
}

func (c *zoneCache) store(name string, loc *time.Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = make(map[string]*time.Location)
	}
	c.byName[name] = loc
}

// ValidTimeZone reports whether name is an IANA time zone that is known here.
// "" and "Local" are not: what they mean depends on the machine.
func ValidTimeZone(name string) bool {
	return loadZone(name) != nil
}

// loadZone gives nil for a name that is no IANA time zone.
func loadZone(name string) *time.Location {
	if name == "UTC" {
		return time.UTC
	}
	if loc := zones.load(name); loc != nil {
		return loc
	}
	if !zoneName(name) {
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	zones.store(name, loc)
	return loc
}

// taskZone is the zone of windows that name none.
func taskZone(name string) *time.Location {
	if loc := loadZone(name); loc != nil {
		return loc
	}
	return time.UTC
}

// zoneName reports whether name is spelled as IANA spells zones: words of
// letters, digits, _, + and -, with single slashes between. LoadLocation takes
// more, being fed to a file system: other spellings of the same file, and files
// that are no IANA zone, such as the machine's own zone or, under right/, clocks
// that count leap seconds.
func zoneName(name string) bool {
	switch {
	case name == "Local", name == "localtime", name == "posixrules":
		return false
	case len(name) > 64:
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '/' {
			if i == start {
				return false
			}
			if word := name[start:i]; start == 0 && i < len(name) && (word == "right" || word == "posix") {
				return false
			}
			start = i + 1
			continue
		}
		ch := name[i]
		letter := 'a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z'
		if !letter && (i == 0 || (ch < '0' || ch > '9') && ch != '_' && ch != '+' && ch != '-') {
			return false
		}
	}
	return true
}

// period is a stretch of time in which a zone's offset from UTC stays the same.
// All are Unix seconds; from is inside, to is not.
type period struct {
	from, to int64
	offset   int64
}

// periodAt gives the period that sec is in, as far as calm asks for at least:
// beyond a zone's table time.Time.ZoneBounds ends periods with the year, change
// or none.
func periodAt(loc *time.Location, sec int64) period {
	p := boundsAt(loc, sec)
	for sec+calm >= p.to {
		next := boundsAt(loc, p.to)
		if next.offset != p.offset {
			break
		}
		p.to = next.to
	}
	for sec-calm < p.from {
		before := boundsAt(loc, p.from-1)
		if before.offset != p.offset {
			break
		}
		p.from = before.from
	}
	return p
}

// boundsAt gives a period that sec is in. It may end where the next has the same
// offset.
func boundsAt(loc *time.Location, sec int64) period {
	t := time.Unix(sec, 0).In(loc)
	_, offset := t.Zone()
	from, to := t.ZoneBounds()
	p := period{from: math.MinInt64, to: math.MaxInt64, offset: int64(offset)}
	if !from.IsZero() {
		p.from = min(from.Unix(), sec)
	}
	if !to.IsZero() {
		p.to = to.Unix()
		if p.to <= sec {
			// Beyond a zone's table ZoneBounds takes every year for one of 365 days:
			// on 31 December of a leap year it says that the period has ended already
			// (seen with Go 1.26). It ends no earlier than that day does, in UTC.
			p.to = (floorDiv(sec, secondsPerDay) + 1) * secondsPerDay
		}
	}
	return p
}

const (
	secondsPerDay = 24 * 60 * 60
	// maxOffset is more than any zone has ever been away from UTC.
	maxOffset = secondsPerDay
)

// instant gives the moment at which clocks in loc show a local time, counted
// in seconds as if it were UTC. A local time that a clock change skips is the
// moment of the change; of one that it repeats, it is the first or the last.
//
// The periods around the local time are tried one by one, rather than an offset
// guessed and corrected as time.Date does: that is exact for changes of any
// size, at any hour, and tells a skipped time from a repeated one.
func instant(loc *time.Location, local int64, last bool) int64 {
	p := boundsAt(loc, local-maxOffset)
	var at, gap int64
	found := false
	for {
		t := local - p.offset
		if p.from <= t && t < p.to {
			if !last {
				return t
			}
			at, found = t, true
		}
		if p.to > local+maxOffset {
			break
		}
		next := boundsAt(loc, p.to)
		if t >= p.to && local-next.offset < p.to {
			gap = p.to
		}
		p = next
	}
	if found {
		return at
	}
	return gap
}
