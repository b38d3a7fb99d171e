package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// auditing is what an operation of the auditor does: it asks for the turn, or walks.
type auditing struct {
	// turn is whose turn it is to be for as long as hold, empty for a walk.
	turn string
	hold time.Duration
}

func (a *auditing) String() string {
	if a.turn == "" {
		return "audit"
	}
	return fmt.Sprintf("audit turn for %s", a.hold)
}

// carryOut does it, and leaves its outcome in got.
func (a *auditing) carryOut(ctx context.Context, s *memstore.Store, got *reply) {
	if a.turn != "" {
		got.turn, got.err = s.AuditTurn(ctx, a.turn, a.hold)
		return
	}
	// The walk is made at once, since one pass cannot be made again by itself on another
	// store when this one has failed over.
	got.audited = scheduler.AuditPass{}
	for walk := s.Audit(); !got.audited.Done && got.err == nil; {
		var pass scheduler.AuditPass
		pass, got.err = walk.Pass(ctx)
		got.audited.Looked += pass.Looked
		got.audited.Findings = append(got.audited.Findings, pass.Findings...)
		got.audited.Done = pass.Done
	}
}

func (l *link) AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error) {
	got := l.send(ctx, &operation{audit: &auditing{turn: replica, hold: hold}})
	return got.turn, got.err
}

func (l *link) Audit() scheduler.AuditWalk { return walk{l} }

// walk is one over whatever store there is when it arrives.
type walk struct{ link *link }

func (w walk) Pass(ctx context.Context) (scheduler.AuditPass, error) {
	got := w.link.send(ctx, &operation{audit: &auditing{}})
	return got.audited, got.err
}
