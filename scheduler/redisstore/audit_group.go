package redisstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"

	"github.com/retryd/retryd/scheduler"
)

// groupSums counts anew what shards count of groups. No index tells which tasks a
// group has, so all tasks are gone through; a group in which something changes
// meanwhile is left to the next walk.
type groupSums struct {
	seed maphash.Seed
	// beganMS is when it began, by the slowest of the nodes' clocks.
	beganMS int64
	of      map[groupAt]*groupSum
	// seen are the tasks counted: a scan may tell of one twice.
	seen map[uint64]struct{}
	// doubtful says that not all tasks were counted.
	doubtful bool
	// known are the groups that have counts, in the order in which they are checked.
	known []groupAt
}

type groupAt struct {
	shard int
	scheduler.GroupKey
}

type groupSum struct {
	inProgress, pending int64
	known               bool
}

// maxGroupSums and maxGroupTasks bound what is kept: past them, no group's counts are
// looked at in this walk.
const (
	maxGroupSums  = 100_000
	maxGroupTasks = 1_000_000
)

func newGroupSums() *groupSums {
	return &groupSums{seed: maphash.MakeSeed(), of: make(map[groupAt]*groupSum), seen: make(map[uint64]struct{})}
}

func (g *groupSums) begin(nowMS int64) {
	if g.beganMS == 0 || nowMS < g.beganMS {
		g.beganMS = nowMS
	}
}

// doubt takes note that tasks may have been passed over.
func (g *groupSums) doubt() { g.doubtful = true }

// sum returns the counts of a group, nil when there are too many.
func (g *groupSums) sum(at groupAt) *groupSum {
	sum := g.of[at]
	if sum == nil {
		if len(g.of) == maxGroupSums {
			g.doubtful = true
			return nil
		}
		sum = &groupSum{}
		g.of[at] = sum
	}
	return sum
}

// add counts a task.
func (g *groupSums) add(shard int, t *scheduler.Task) {
	if t.Spec.Group == "" || t.State == scheduler.StateDead || g.doubtful {
		return
	}
	id := maphash.String(g.seed, member(t.Key.Namespace, t.Key.ID))
	if _, twice := g.seen[id]; twice {
		return
	}
	if len(g.seen) == maxGroupTasks {
		g.doubtful = true
		return
	}
	g.seen[id] = struct{}{}
	sum := g.sum(groupAt{shard, scheduler.GroupKey{Namespace: t.Key.Namespace, Name: t.Spec.Group}})
	switch {
	case sum == nil:
	case t.State == scheduler.StateLeased:
		sum.inProgress++
	default:
		sum.pending++
	}
}

// know takes note of a group that has counts. One that has none was forgotten, and
// counts its tasks when they change.
func (g *groupSums) know(k auditKey) {
	at := groupAt{k.shard, scheduler.GroupKey{Namespace: k.namespace, Name: k.name}}
	if sum := g.sum(at); sum != nil && !sum.known {
		sum.known = true
		g.known = append(g.known, at)
	}
}

// auditGroup holds what a shard has of a group together.
func (s *Store) auditGroup(shard int, g scheduler.GroupKey, counted ...any) *call {
	return &call{
		script: s.scripts.auditGroup,
		keys:   []string{s.keys.groups(shard), s.keys.group(shard, g)},
		args:   append([]any{s.nowArg(), member(g.Namespace, g.Name)}, counted...),
	}
}

// checkGroups holds the counts of some groups to what was counted; done says that they
// were the last.
func (w *auditWalk) checkGroups(ctx context.Context) (done bool, err error) {
	g := w.groups
	n := min(auditPage, len(g.known))
	if n > 0 {
		if err := w.lookAgain(ctx); err != nil {
			return false, err
		}
	}
	var calls []*call
	var checks []func(c *call) error
	for _, at := range g.known[:n] {
		sum := g.of[at]
		var counted []any
		if !g.doubtful {
			for _, v := range []int64{g.beganMS, sum.inProgress, sum.pending} {
				counted = append(counted, strconv.FormatInt(v, 10))
			}
		}
		calls = append(calls, w.s.auditGroup(at.shard, at.GroupKey, counted...))
		checks = append(checks, func(c *call) error {
			err := w.groupChecked(at.shard, at.GroupKey, c)
			if err != nil || len(c.reply) < 4 {
				return err
			}
			w.found(scheduler.Finding{
				Kind: scheduler.FindingGroupCount, Shard: at.shard, Namespace: at.Namespace, Name: at.Name,
				Detail: fmt.Sprintf("in progress %v, pending %v, and there are %d and %d", c.reply[2], c.reply[3], sum.inProgress, sum.pending),
			})
			return nil
		})
	}
	g.known = g.known[n:]
	w.pass.Looked += n
	return len(g.known) == 0, w.runChecks(ctx, calls, checks)
}

// groupChecked notes a group that was not where groups are listed, or only there.
func (w *auditWalk) groupChecked(shard int, g scheduler.GroupKey, c *call) error {
	if w.wrongType(c.err, shard, g.Namespace, g.Name, "what is kept of the group") {
		return nil
	}
	if c.err != nil {
		return c.err
	}
	if len(c.reply) < 2 {
		return errReply
	}
	f := scheduler.Finding{Kind: scheduler.FindingUnknownGroup, Shard: shard, Namespace: g.Namespace, Name: g.Name}
	switch c.reply[0] {
	case int64(0):
		return nil
	case int64(1):
		f.Detail = "it was not among the groups"
	case int64(2):
		f.Detail = "it was among the groups, and has no counts"
	default:
		return errReply
	}
	w.found(f)
	return nil
}
