package telemetry

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// page is what was written to it.
type page struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.Write(b)
}

func (p *page) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.String()
}

// slow is a reader of the log that takes nothing until it is let go.
type slow struct {
	let     chan struct{}
	entered chan struct{}
	page
}

func (s *slow) Write(p []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.let
	return s.page.Write(p)
}

func TestLinesAreWrittenWithinTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out page
		b := NewLogBuffer(&out)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		b.add([]byte("a\n"))
		synctest.Wait()
		if got := out.text(); got != "" {
			t.Errorf("%q is written at once", got)
		}
		<-time.After(flushInterval)
		synctest.Wait()
		if got := out.text(); got != "a\n" {
			t.Errorf("after %s %q is written, want the line", flushInterval, got)
		}
		b.add(bytes.Repeat([]byte("x"), flushBytes))
		synctest.Wait()
		if got := len(out.text()); got != 2+flushBytes {
			t.Errorf("%d bytes are written, want all once there are %d", got, flushBytes)
		}
		b.add([]byte("last\n"))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !strings.HasSuffix(out.text(), "last\n") {
			t.Error("what waited at the end is not written")
		}
	})
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := &slow{let: make(chan struct{}), entered: make(chan struct{}, 1)}
	b := NewLogBuffer(s)
	line := bytes.Repeat([]byte("x"), 1<<10)
	b.add(line)
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		b.Flush()
	}()
	<-s.entered
	// Nobody reads. Lines are taken up to the bound, and then dropped.
	const more = 10
	for range maxBuffered/len(line) + more {
		b.add(line)
	}
	if b.Dropped() != more {
		t.Errorf("%d lines are dropped, want %d", b.Dropped(), more)
	}
	close(s.let)
	<-flushed
	b.Flush()
	if got := len(s.text()); got != len(line)+maxBuffered {
		t.Errorf("%d bytes are written, want %d", got, len(line)+maxBuffered)
	}
	b.add(line)
	if b.Dropped() != more {
		t.Error("a line is dropped though there is room again")
	}
}

func TestDirectLinesComeWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := NewLogBuffer(&out)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				b.add([]byte("buffered\n"))
				b.Flush()
			}
		})
		all.Go(func() {
			for range 100 {
				if _, err := b.Direct().Write([]byte("direct\n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	counts := make(map[string]int)
	for line := range strings.Lines(out.String()) {
		counts[line]++
	}
	if len(counts) != 2 || counts["buffered\n"] != 400 || counts["direct\n"] != 400 {
		t.Errorf("lines %v, want 400 of each", counts)
	}
}
