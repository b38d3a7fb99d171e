package server

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/retryd/retryd/internal/logbound"
)

// What a host may have the server do that nothing comes of. A frame which brings
// nothing, or next to nothing, counts one; whatever takes more than reading, as many
// as frames take about as long.
const (
	// freeOfCall counts for a call that came to nothing, a stream, and a connection.
	freeOfCall = 20
	// bytesToFrame is how much of a message that cannot be read counts one, and
	// windowBytes how much may have come of one that gRPC does not pass on at all.
	bytesToFrame = 1 << 10
	windowBytes  = 64 << 10
	// answersToMessage is how many frames a client may send since a message has come: it
	// opens its windows again, measures how long the way is, and answers the server, which
	// does the same.
	answersToMessage = 4
	// paceRate is how much of that is taken of a host in a second, in the long run: 1,000
	// calls, or 20,000 frames beyond those that go with messages.
	paceRate = 20_000
	// paceBurst is how much is taken at once.
	paceBurst = 4_000
	// mostOwed is the most that is held against a host: what ends at once, such as the
	// calls of a client that goes, keeps it waiting for 2 s.
	mostOwed = paceBurst + 2*paceRate
	// leastPause and mostPause bound how long a connection is not read from before it is
	// seen whether it may be again. New ones, of which there may be thousands, have their
	// turns one after the other instead.
	leastPause     = 5 * time.Millisecond
	mostPause      = 100 * time.Millisecond
	mostPauseOfNew = mostOwed * time.Second / paceRate
	// toldAgain is how long nothing more is said of a host in the log.
	toldAgain = time.Minute
)

// pace is how fast a host is read from. One that costs much and brings little is read
// from more slowly, and nobody else: its frames wait on its own side, and not one of
// them is lost. A limit beyond which connections are closed would be passed by opening
// others.
type pace struct {
	// owed is what it has had done since it last owed nothing. It is looked at with the
	// time in mind only once it is more than is taken at once.
	owed atomic.Int64

	mu sync.Mutex
	// at is until when the passing of time has been counted, told when the log was.
	at, told time.Time
}

// charge adds to what is owed.
func (p *pace) charge(n int64) {
	if p.owed.Add(n) > mostOwed {
		p.owed.Store(mostOwed)
	}
}

// pay takes off what is owed, if it is as much.
func (p *pace) pay(n int64) {
	for {
		owed := p.owed.Load()
		if owed == 0 || p.owed.CompareAndSwap(owed, max(owed-n, 0)) {
			return
		}
	}
}

// pause is how long nothing is to be read, at most, and whether that is to be told.
func (p *pace) pause(most time.Duration) (d time.Duration, tell bool) {
	if p.owed.Load() < paceBurst {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	// More than all is not earned in however long a time.
	if all := now.Add(-mostOwed * time.Second / paceRate); p.at.Before(all) {
		p.at = all
	}
	if earned := int64(now.Sub(p.at).Seconds() * paceRate); earned > 0 {
		p.pay(earned)
		// What is less than one is yet to be.
		p.at = p.at.Add(time.Duration(earned) * time.Second / paceRate)
	}
	over := p.owed.Load() - paceBurst
	if over < 0 {
		return 0, false
	}
	if tell = now.Sub(p.told) >= toldAgain; tell {
		p.told = now
	}
	return min(max(time.Duration(over)*time.Second/paceRate, leastPause), most), tell
}

// paceLog is where it is told who is read from more slowly.
type paceLog struct {
	log   *slog.Logger
	lines *logbound.Bound
}

// tell tells it of a host.
func (l *paceLog) tell(host string) {
	if !l.lines.Allow() {
		return
	}
	var args []any
	for _, attr := range l.lines.Append([]slog.Attr{slog.String("host", host)}) {
		args = append(args, attr)
	}
	l.log.Warn("a host is read from more slowly: it sends much that nothing comes of", args...)
}

// charge counts what the connection's host has had done for nothing. Whoever comes over
// no network is not bounded.
func (c *boundedConn) charge(n int64) {
	if c != nil && c.hostName != "" {
		c.host.pace.charge(n)
	}
}

// keepPace waits until more may be read of the connection's host, and says whether the
// connection is still open then.
func (c *boundedConn) keepPace() (open bool) {
	waited := true
	for waited {
		if waited, open = c.standBack(mostPause); !open {
			return false
		}
	}
	return true
}

// standBack waits until the host has made up for what it owes now, at most for so long. It
// says whether it has waited, and whether the connection is still open then.
func (c *boundedConn) standBack(most time.Duration) (waited, open bool) {
	select {
	case <-c.gone:
		return false, false
	default:
	}
	d, tell := c.host.pace.pause(most)
	if d == 0 {
		return false, true
	}
	c.from.counters.slowedReads.Add(1)
	if tell {
		c.from.paced.tell(c.hostName)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, true
	case <-c.gone:
		return true, false
	}
}
