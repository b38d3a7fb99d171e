package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/retryd/retryd/internal/redisproc"
)

// bareProbe writes to Redis by itself, past everything of ours, to see for how long
// nothing could be written that was kept, whoever had tried: what a failover costs
// beyond that is ours.
type bareProbe struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	writes []time.Time
}

// bareKey is what it writes; no key of retryd begins like it.
const bareKey = "bare-probe"

// startBareProbe starts one on all of these servers, of which any will do. A write
// counts when so many replicas have confirmed it. It ends with stop.
func startBareProbe(ctx context.Context, nodes []*redisproc.Server, replicas int) *bareProbe {
	ctx, cancel := context.WithCancel(ctx)
	p := &bareProbe{cancel: cancel}
	for _, node := range nodes {
		path := node.Socket()
		p.wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if at := time.Now(); tryWrite(ctx, path, at, replicas) == nil {
					p.mu.Lock()
					p.writes = append(p.writes, at)
					p.mu.Unlock()
				}
			}
		})
	}
	return p
}

// stop ends it, and returns when it has ended.
func (p *bareProbe) stop() {
	p.cancel()
	p.wg.Wait()
}

// gap is the longest time since from in which nothing was written that a server has:
// the primary that there is in the end.
func (p *bareProbe) gap(ctx context.Context, from time.Time, of *redisproc.Server) (time.Duration, error) {
	kept, err := of.Command(ctx, "SMEMBERS", bareKey)
	if err != nil {
		return 0, fmt.Errorf("read what was written to redis: %w", err)
	}
	has := make(map[string]bool)
	for member := range strings.SplitSeq(kept, "\n") {
		has[member] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.writes, time.Time.Compare)
	last, most := from, time.Duration(0)
	for _, at := range p.writes {
		if at.After(from) && has[member(at)] {
			most, last = max(most, at.Sub(last)), at
		}
	}
	return most, nil
}

// member is what is written at a moment.
func member(at time.Time) string { return strconv.FormatInt(at.UnixNano(), 10) }

// tryWrite writes once, and wants replicas to confirm it.
func tryWrite(ctx context.Context, socket string, at time.Time, replicas int) error {
	const limit = 200 * time.Millisecond
	dialer := net.Dialer{Timeout: limit}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	commands, want := "SADD "+bareKey+" "+member(at)+"\r\n", []string{":1"}
	if replicas > 0 {
		// WAIT is of the same connection, or it says nothing.
		commands += fmt.Sprintf("WAIT %d %d\r\n", replicas, (limit / 2).Milliseconds())
		want = append(want, ":"+fmt.Sprint(replicas))
	}
	if _, err := io.WriteString(conn, commands); err != nil {
		return err
	}
	replies := bufio.NewReader(conn)
	for _, least := range want {
		got, err := replies.ReadString('\n')
		if err != nil {
			return err
		}
		// With one digit at most, counts are in the order of their text.
		if got = strings.TrimSpace(got); len(got) != len(least) || got < least {
			return fmt.Errorf("redis answers %q, want %q", got, least)
		}
	}
	return nil
}
