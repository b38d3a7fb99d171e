package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/scheduler"
)

// account ends the load, waits until all has drained, and checks I1 to I9 and I11.
func (w *World) account(ctx context.Context, res *Result) error {
	w.StopReports()
	stopped := time.Now()
	if err := w.awaitDrained(ctx); err != nil {
		w.Broken("I8: %v", err)
	}
	res.DrainedMS = time.Since(stopped).Milliseconds()
	for _, one := range w.workers {
		if !one.running() {
			continue
		}
		if err := one.Stop(); err != nil {
			w.Broken("I8: worker %s: %v", one.Via, err)
		}
	}
	sum, found, err := w.Ledger.Audit(ctx, w.Store, ledger.Plan{Attempts: attempts, Windows: w.windows})
	if err != nil {
		return err
	}
	res.Audit = sum
	for _, problem := range found {
		w.Broken("%s", problem)
	}
	if err := w.checkStore(ctx, sum.Stored); err != nil {
		return err
	}
	if res.Held, res.Clients, found, err = w.awaitBase(ctx); err != nil {
		return err
	}
	for _, problem := range found {
		w.Broken("%s", problem)
	}
	res.Refusals = w.Ledger.Refusals()
	return w.checkLogs()
}

// awaitDrained waits until nothing is left to do in the queue.
func (w *World) awaitDrained(ctx context.Context) error {
	q := []scheduler.QueueKey{{Namespace: "default", Name: queue}}
	for deadline := time.Now().Add(2 * patience); ; {
		counts, err := w.Store.CountQueues(ctx, q)
		if err == nil && counts[0].Waiting == 0 && counts[0].Leased == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not drained within %s: %+v, error %w", 2*patience, counts, errors.Join(err))
		}
		if err := w.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// shown is how many problems of a kind are told.
const shown = 5

// checkStore holds the store to itself, and its group to the tasks that it has.
func (w *World) checkStore(ctx context.Context, stored int) error {
	found, err := w.Store.Verify(ctx)
	if err != nil {
		return fmt.Errorf("verify the store: %w", err)
	}
	for _, problem := range found[:min(shown, len(found))] {
		w.Broken("I7: %s", problem)
	}
	if len(found) > shown {
		w.Broken("I7: and %d more", len(found)-shown)
	}
	got, _, err := w.Store.Group(ctx, scheduler.GroupKey{Namespace: "default", Name: group})
	if want := (scheduler.GroupCount{Total: int64(stored), Completed: int64(stored)}); err != nil || got != want {
		w.Broken("I7: the group counts %+v (error %v), want %+v", got, err, want)
	}
	return nil
}

// words are what may be a lease token in a log.
var words = regexp.MustCompile(`[A-Za-z0-9_-]{30,}`)

// checkLogs wants neither payloads nor tokens nor panics in the servers' logs.
func (w *World) checkLogs() error {
	for _, s := range w.Servers {
		text, err := logFrom(filepath.Join(w.Dir, s.name+".log"), 0)
		if err != nil {
			return fmt.Errorf("read the log of %s: %w", s.name, err)
		}
		if strings.Contains(text, secret) {
			w.Broken("I11: the log of %s has a payload", s.name)
		}
		if strings.Contains(text, "panic") {
			w.Broken("%s has panicked: %s", s.name, tail(text))
		}
		if slices.ContainsFunc(words.FindAllString(text, -1), w.Ledger.HasToken) {
			w.Broken("I11: the log of %s has a lease token", s.name)
		}
	}
	return nil
}
