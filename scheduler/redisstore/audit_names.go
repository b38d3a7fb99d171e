package redisstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// auditPrint holds what is told of a fingerprint to its dead letters.
func (s *Store) auditPrint(shard int, ix scheduler.Index) *call {
	return &call{
		script: s.scripts.auditPrint,
		keys: []string{
			s.keys.index(shard, ix),
			s.keys.fingerprints(shard, scheduler.QueueKey{Namespace: ix.Namespace, Name: ix.Name}),
		},
		args: []any{ix.Fingerprint.String()},
	}
}

func (w *auditWalk) checkPrint(ctx context.Context, shard int, ix scheduler.Index) error {
	c := w.s.auditPrint(shard, ix)
	w.s.runAudit(ctx, c)
	return w.printChecked(shard, ix, c)
}

func (w *auditWalk) printChecked(shard int, ix scheduler.Index, c *call) error {
	if w.wrongIndex(c.err, shard, ix) {
		return nil
	}
	if c.yes() {
		w.found(scheduler.Finding{
			Kind: scheduler.FindingFingerprint, Shard: shard, Namespace: ix.Namespace, Name: ix.Name,
			Detail: "fingerprint " + ix.Fingerprint.String(),
		})
	}
	return c.err
}

// fieldAudit is a walk over the names that heads, groups or a queue's fingerprints have.
type fieldAudit struct {
	key    auditKey
	cursor uint64
}

// names looks at the next names, each beside what it is named after.
func (w *auditWalk) names(ctx context.Context) error {
	k := w.fields.key
	scan := w.s.client.ZScan
	if k.kind == "fps" {
		scan = w.s.client.HScan
	}
	pairs, cursor, err := scan(ctx, k.key, w.fields.cursor, "", auditPage).Result()
	if w.wrongType(err, k.shard, k.namespace, k.name, k.kind) {
		w.fields = nil
		return nil
	}
	if err != nil {
		return w.s.failure("look through names", err)
	}
	// A small key is told whole, and a scan may tell of one name twice.
	for part := range slices.Chunk(pairs, 2*auditPage) {
		if err := w.checkNames(ctx, k, part); err != nil {
			return err
		}
	}
	w.pass.Looked += len(pairs) / 2
	if w.fields.cursor = cursor; cursor == 0 {
		w.fields = nil
	}
	return nil
}

// checkNames looks at names; pairs has something behind each.
func (w *auditWalk) checkNames(ctx context.Context, k auditKey, pairs []string) error {
	var calls []*call
	var checks []func(c *call) error
	for i := 0; i < len(pairs); i += 2 {
		if k.kind == "fps" {
			f, ok := scheduler.ParseFingerprint(pairs[i])
			if !ok {
				w.unreadableName(k, pairs[i])
				continue
			}
			ix := scheduler.Index{Kind: scheduler.IndexFingerprint, Namespace: k.namespace, Name: k.name, Fingerprint: f}
			calls = append(calls, w.s.auditPrint(k.shard, ix))
			checks = append(checks, func(c *call) error { return w.printChecked(k.shard, ix, c) })
			continue
		}
		namespace, name, err := splitMember(pairs[i])
		if err != nil {
			w.unreadableName(k, pairs[i])
			continue
		}
		if k.kind == "heads" {
			q := scheduler.QueueKey{Namespace: namespace, Name: name}
			calls = append(calls, w.s.auditQueue(k.shard, q))
			checks = append(checks, func(c *call) error { _, err := w.queueChecked(k.shard, q, c); return err })
			continue
		}
		g := scheduler.GroupKey{Namespace: namespace, Name: name}
		calls = append(calls, w.s.auditGroup(k.shard, g))
		checks = append(checks, func(c *call) error { return w.groupChecked(k.shard, g, c) })
	}
	return w.runChecks(ctx, calls, checks)
}

// runChecks runs calls, at most a page of them, and hands each to its check.
func (w *auditWalk) runChecks(ctx context.Context, calls []*call, checks []func(c *call) error) error {
	w.s.runAudit(ctx, calls...)
	for i, c := range calls {
		if err := checks[i](c); err != nil {
			return err
		}
	}
	return nil
}

func (w *auditWalk) unreadableName(k auditKey, name string) {
	w.found(scheduler.Finding{
		Kind: scheduler.FindingUnreadable, Shard: k.shard, Namespace: k.namespace, Name: k.name,
		Detail: fmt.Sprintf("%s has %q, which names nothing", k.kind, name), Left: true,
	})
}
