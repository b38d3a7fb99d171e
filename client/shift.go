package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// handlerGrace is how long a handler may take to return once its context is
	// cancelled.
	handlerGrace = 5 * time.Second
	// confirmTimeout is how long a stopping worker waits for its last results to
	// be confirmed.
	confirmTimeout = 10 * time.Second
	// farewellTimeout is how long it waits for its streams to end by themselves.
	farewellTimeout = 2 * time.Second
)

// shift is one Run of a worker: the jobs that it holds, and the lines that carry
// what is to be said about them.
type shift struct {
	w      *Worker
	log    *slog.Logger
	work   context.Context //nolint:containedctx // handlers outlive whoever begins them
	handle Handler

	handlers sync.WaitGroup
	lines    sync.WaitGroup
	// left is signalled when a job is gone.
	left chan struct{}

	mu      sync.Mutex
	closing bool
	jobs    map[string]*job // by token
	waiting []*job          // not begun yet
	running int
	// current is the line that takes over the jobs of lines that end; nil while
	// there is none, and then limbo does.
	current *line
	limbo   *line
}

func newShift(w *Worker, work context.Context, handle Handler) *shift { //nolint:revive // work is not its own context
	return &shift{
		w:      w,
		log:    w.c.log.With("worker_id", w.cfg.id),
		work:   work,
		handle: handle,
		left:   make(chan struct{}, 1),
		jobs:   make(map[string]*job),
		limbo:  newLine(),
	}
}

// close ends the taking of work: what is not begun is handed back.
func (s *shift) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for _, j := range s.waiting {
		s.conclude(j, Release(0))
	}
	s.waiting = nil
	s.wakeAll()
}

// finish waits for handlers and for the confirmation of their results.
func (s *shift) finish(stop context.CancelCauseFunc) error {
	returned := make(chan struct{})
	go func() {
		s.handlers.Wait()
		close(returned)
	}()
	var errs []error
	if !within(returned, s.w.cfg.shutdownTimeout) {
		stop(ErrWorkerStopped)
		if !within(returned, handlerGrace) {
			errs = append(errs, fmt.Errorf("%d handlers did not return though their contexts are cancelled", s.busy()))
		}
	}
	patience := time.NewTimer(confirmTimeout)
	defer patience.Stop()
	for {
		n := s.unconfirmed()
		if n == 0 {
			return errors.Join(errs...)
		}
		select {
		case <-s.left:
		case <-patience.C:
			return errors.Join(append(errs, fmt.Errorf("the results of %d attempts were not confirmed", n))...)
		}
	}
}

// hangUp ends the lines, which end by themselves when nothing is left to say.
func (s *shift) hangUp(cancel context.CancelFunc) {
	ended := make(chan struct{})
	go func() {
		s.lines.Wait()
		close(ended)
	}()
	if s.busy() == 0 && s.unconfirmed() == 0 {
		within(ended, farewellTimeout)
	}
	cancel()
	<-ended
}

func (s *shift) busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

func (s *shift) unconfirmed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) - s.running
}

// wakeAll makes every line look what there is to send. Callers hold mu.
func (s *shift) wakeAll() {
	seen := make(map[*line]bool)
	for _, j := range s.jobs {
		if !seen[j.home] {
			seen[j.home] = true
			j.home.look()
		}
	}
	if s.current != nil {
		s.current.look()
	}
}

// tell tells the caller's function what became of an attempt. Callers must not
// hold mu.
func (s *shift) tell(results ...Settled) {
	if s.w.cfg.settled == nil {
		return
	}
	for _, r := range results {
		s.w.cfg.settled(r)
	}
}

// within waits for done, for at most d.
func within(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}
