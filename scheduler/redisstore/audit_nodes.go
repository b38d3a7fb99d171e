package redisstore

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// auditNode is a server whose keys are scanned.
type auditNode struct {
	client redis.Cmdable
	// was is what it was when the walk began.
	was nodeView
}

// nodeView is what must stay as it is of a server, or else tasks may have been passed
// over: a cursor means nothing to another process, and a slot may have moved to a server
// that was scanned already.
type nodeView struct {
	// run tells the process from any other.
	run string
	// id and own are a node's name on a Cluster, and what it says of itself and its slots.
	id, own string
	// masters are the names of those that have slots, as this one knows it.
	masters string
	// moving says that it has a slot that is on the move, or is not a master.
	moving bool
}

// findNodes finds out which nodes there are.
func (w *auditWalk) findNodes(ctx context.Context) error {
	clients := []redis.Cmdable{w.s.client}
	if cluster, ok := w.s.client.(*redis.ClusterClient); ok {
		clients = nil
		var mu sync.Mutex
		err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			clients = append(clients, node)
			return nil
		})
		if err != nil {
			return w.s.failure("find the nodes", err)
		}
	}
	var ids []string
	for _, client := range clients {
		was, err := w.s.viewOf(ctx, client)
		if err != nil {
			return err
		}
		w.nodes, ids = append(w.nodes, auditNode{client, was}), append(ids, was.id)
	}
	w.all = w.nodes
	slices.Sort(ids)
	for _, n := range w.all {
		if n.was.moving || n.was.masters != strings.Join(ids, " ") {
			w.groups.doubt()
		}
	}
	return nil
}

// lookAgain leaves all groups in doubt where a node is not what it was.
func (w *auditWalk) lookAgain(ctx context.Context) error {
	for _, n := range w.all {
		if w.groups.doubtful {
			return nil
		}
		is, err := w.s.viewOf(ctx, n.client)
		if err != nil {
			return err
		}
		if is != n.was {
			w.groups.doubt()
		}
	}
	return nil
}

// viewOf asks a server what it is.
func (s *Store) viewOf(ctx context.Context, node redis.Cmdable) (nodeView, error) {
	text, err := node.Info(ctx, "server").Result()
	if err != nil {
		return nodeView{}, s.failure("read what the server is", err)
	}
	run := infoOf(text)["run_id"]
	if !s.cluster {
		return nodeView{run: run}, nil
	}
	if text, err = node.ClusterNodes(ctx).Result(); err != nil {
		return nodeView{}, s.failure("read which nodes there are", err)
	}
	v := parseNodes(text)
	v.run = run
	return v, nil
}

// parseNodes reads what CLUSTER NODES says: per node a line of its name, address, flags,
// master, when it was last heard of, the epoch of its slots, its link, and its slots,
// those on the move in brackets.
func parseNodes(text string) nodeView {
	const flags, epoch, slots = 2, 6, 8
	var v nodeView
	var masters []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < slots {
			continue
		}
		is := strings.Split(f[flags], ",")
		master := slices.Contains(is, "master")
		if master && slices.ContainsFunc(f[slots:], func(slot string) bool { return slot[0] != '[' }) {
			masters = append(masters, f[0])
		}
		if !slices.Contains(is, "myself") {
			continue
		}
		v.id, v.own = f[0], strings.Join(append([]string{f[flags], f[epoch]}, f[slots:]...), " ")
		v.moving = !master || strings.Contains(v.own, "[")
	}
	slices.Sort(masters)
	v.masters = strings.Join(masters, " ")
	return v
}
