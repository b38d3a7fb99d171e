package simulation

import (
	"context"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func (l *link) DeadLetterGroups(ctx context.Context, q scheduler.QueueKey) ([]scheduler.DeadLetterGroup, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().DeadLetterGroups(ctx, q)
}

func (l *link) Queues(ctx context.Context, shard int, after scheduler.QueueKey, limit int) ([]scheduler.QueueKey, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Queues(ctx, shard, after, limit)
}

func (l *link) DueQueues(ctx context.Context, shard, skip, limit int) ([]scheduler.QueueKey, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().DueQueues(ctx, shard, skip, limit)
}

func (l *link) CountQueues(ctx context.Context, queues []scheduler.QueueKey) ([]scheduler.QueueCount, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().CountQueues(ctx, queues)
}

func (l *link) ForgetQueues(ctx context.Context, shard int, after scheduler.QueueKey, limit int) (scheduler.QueueKey, error) {
	if err := l.err(); err != nil {
		return scheduler.QueueKey{}, err
	}
	return l.store().ForgetQueues(ctx, shard, after, limit)
}

func (l *link) CountNamespaces(ctx context.Context, namespaces []string) ([]scheduler.NamespaceCount, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().CountNamespaces(ctx, namespaces)
}

func (l *link) ShareNote(ctx context.Context, replica string, note []byte, keep time.Duration) (map[string][]byte, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().ShareNote(ctx, replica, note, keep)
}

func (l *link) Group(ctx context.Context, key scheduler.GroupKey) (scheduler.GroupCount, bool, error) {
	if err := l.err(); err != nil {
		return scheduler.GroupCount{}, false, err
	}
	return l.store().Group(ctx, key)
}

func (l *link) DeleteGroup(ctx context.Context, key scheduler.GroupKey) (bool, error) {
	if err := l.err(); err != nil {
		return false, err
	}
	return l.store().DeleteGroup(ctx, key)
}

func (l *link) ForgetGroups(ctx context.Context, shard int, beforeMS int64, limit int) (int, error) {
	if err := l.err(); err != nil {
		return 0, err
	}
	return l.store().ForgetGroups(ctx, shard, beforeMS, limit)
}

func (l *link) Policy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Policy(ctx, namespace, id)
}

func (l *link) RecentPolicy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	return l.Policy(ctx, namespace, id)
}

// PutPolicy is for the time before the faults begin, when nothing else is written.
func (l *link) PutPolicy(ctx context.Context, rec *scheduler.PolicyRecord, expect int64) (ok bool, err error) {
	kept := *rec
	l.db.write(nil, func(s *memstore.Store) { ok, err = s.PutPolicy(ctx, &kept, expect) })
	return ok, err
}

func (l *link) PutPolicyUnlessJobs(ctx context.Context, rec *scheduler.PolicyRecord, expect int64, _ scheduler.JobsMark) (bool, error) {
	return l.PutPolicy(ctx, rec, expect)
}

func (l *link) Policies(ctx context.Context, namespace string) ([]*scheduler.PolicyRecord, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Policies(ctx, namespace)
}

func (l *link) Job(ctx context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.store().Job(ctx, namespace, id)
}

func (l *link) RecentJob(ctx context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	return l.Job(ctx, namespace, id)
}

// PutJob and DeleteJob are refused: the simulation has no jobs.
func (l *link) PutJob(context.Context, *scheduler.JobRecord, int64, []*scheduler.PolicyRecord) (bool, error) {
	return false, errAway
}

func (l *link) DeleteJob(context.Context, string, string, int64) (bool, error) { return false, errAway }

func (l *link) Jobs(ctx context.Context, namespace string) ([]*scheduler.JobRecord, scheduler.JobsMark, error) {
	if err := l.err(); err != nil {
		return nil, 0, err
	}
	return l.store().Jobs(ctx, namespace)
}
