package simulation

import (
	"context"
	"time"

	"github.com/retryd/retryd/scheduler"
)

func (l *link) AuditTurn(ctx context.Context, replica string, hold time.Duration) (bool, error) {
	if err := l.err(); err != nil {
		return false, err
	}
	return l.store().AuditTurn(ctx, replica, hold)
}

func (l *link) Audit() scheduler.AuditWalk { return &audit{link: l, walk: l.store().Audit()} }

// audit is a walk over a store that may go away.
type audit struct {
	link *link
	walk scheduler.AuditWalk
}

func (a *audit) Pass(ctx context.Context) (scheduler.AuditPass, error) {
	if err := a.link.err(); err != nil {
		return scheduler.AuditPass{}, err
	}
	return a.walk.Pass(ctx)
}
