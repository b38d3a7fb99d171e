package server

import (
	"context"
	"encoding/binary"
	"sort"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// samplesAtOnce is how many samples are held in memory at a time: their payloads
// may be large.
const samplesAtOnce = 100

// ListDeadLetterGroups answers a page of the groups of dead letters.
func (h *taskService) ListDeadLetterGroups(ctx context.Context, r *retryv1.ListDeadLetterGroupsRequest) (*retryv1.ListDeadLetterGroupsResponse, error) {
	var c checker
	list := listing{kind: "dead letter groups", namespace: c.namespace(r.GetNamespace()), filter: []string{r.GetQueue()}}
	c.optionalName("queue", r.GetQueue())
	size, after := c.page(list, r.GetPageSize(), r.GetPageToken())
	if err := c.err(); err != nil {
		return nil, err
	}
	groups, err := h.s.sched.DeadLetterGroups(ctx, list.namespace, r.GetQueue())
	if err != nil {
		return nil, err
	}
	groups = groups[sort.Search(len(groups), func(i int) bool { return groupPlace(&groups[i]) > after }):]
	return h.groupsPage(ctx, list, groups, size)
}

// groupsPage answers the first groups with their samples, as many as go on a page.
func (h *taskService) groupsPage(ctx context.Context, list listing, groups []scheduler.DeadLetterGroup, size int) (*retryv1.ListDeadLetterGroupsResponse, error) {
	resp := new(retryv1.ListDeadLetterGroupsResponse)
	bytes := 0
	var samples []*scheduler.Task
	for i := range groups {
		if i == size {
			resp.NextPageToken = list.token(groupPlace(&groups[i-1]))
			return resp, nil
		}
		if i%samplesAtOnce == 0 {
			var err error
			if samples, err = h.s.sched.Samples(ctx, groups[i:min(i+samplesAtOnce, size, len(groups))]); err != nil {
				return nil, err
			}
		}
		m := wire.DeadLetterGroup(&groups[i], samples[i%samplesAtOnce])
		bytes += proto.Size(m)
		if i > 0 && bytes > maxPageBytes {
			resp.NextPageToken = list.token(groupPlace(&groups[i-1]))
			return resp, nil
		}
		resp.Groups = append(resp.Groups, m)
	}
	return resp, nil
}

// groupPlace is a group's place in the list, written so that places are ordered as
// the groups are: the largest first, of those the one first that died last, and of
// those by queue and fingerprint.
func groupPlace(g *scheduler.DeadLetterGroup) string {
	b := binary.BigEndian.AppendUint64(nil, ^uint64(g.Count))
	b = binary.BigEndian.AppendUint64(b, ^uint64(g.LastMS))
	b = append(append(b, g.Queue.Name...), 0)
	return string(binary.BigEndian.AppendUint64(b, uint64(g.Fingerprint)))
}
