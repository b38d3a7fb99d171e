package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

// storedJob is a job as it is kept: its revision, a blank, and this as JSON. The
// names in it are stored, and so are those of [scheduler.Job]; the golden file
// holds them.
type storedJob struct {
	Format   int           `json:"format"`
	CreateMS int64         `json:"create_ms"`
	UpdateMS int64         `json:"update_ms"`
	Job      scheduler.Job `json:"job"`
}

const jobFormat = 1

// markID is under what id a namespace's jobs have their mark: no job has it.
const markID = ""

func encodeJob(rec *scheduler.JobRecord) (string, error) {
	return encodeResource("job", rec.Job.ID, rec.Revision, storedJob{jobFormat, rec.CreateMS, rec.UpdateMS, rec.Job})
}

func decodeJob(namespace, kept string) (*scheduler.JobRecord, error) {
	var j storedJob
	revision, err := decodeResource("job", kept, &j)
	if err != nil {
		return nil, err
	}
	if j.Format != jobFormat {
		return nil, otherFormat("job", j.Job.ID, j.Format, jobFormat)
	}
	return &scheduler.JobRecord{Namespace: namespace, Job: j.Job, Revision: revision, CreateMS: j.CreateMS, UpdateMS: j.UpdateMS}, nil
}

// Job returns a job as it is now, nil when there is none.
func (s *Store) Job(ctx context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	kept, err := s.client.HGet(ctx, s.keys.jobs(namespace), id).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failure("read job", err)
	}
	return decodeJob(namespace, kept)
}

// RecentJob returns a job as it was at some moment of the last second, nil when
// there is none.
func (s *Store) RecentJob(ctx context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	return s.recentJobs.read(ctx, namespace, id, s.Job)
}

// PutJob writes a job if it is still at the revision expected, and so are the
// policies, which are of its namespace.
func (s *Store) PutJob(ctx context.Context, rec *scheduler.JobRecord, expect int64, policies []*scheduler.PolicyRecord) (bool, error) {
	kept, err := encodeJob(rec)
	if err != nil {
		return false, err
	}
	return s.writeJob(ctx, rec.Namespace, rec.Job.ID, expect, kept, policies)
}

// DeleteJob removes a job if it is still at the revision expected.
func (s *Store) DeleteJob(ctx context.Context, namespace, id string, expect int64) (bool, error) {
	return s.writeJob(ctx, namespace, id, expect, "", nil)
}

func (s *Store) writeJob(ctx context.Context, namespace, id string, expect int64, kept string, policies []*scheduler.PolicyRecord) (bool, error) {
	c := s.putCall(namespace, intoJobs, id, expect, kept, "")
	for _, p := range policies {
		c.args = append(c.args, p.Policy.ID, strconv.FormatInt(p.Revision, 10))
	}
	s.run(ctx, c)
	// Whatever came of it, this replica reads what is there before it judges by it.
	s.recentJobs.changed(namespace, id)
	return c.yes(), c.err
}

// Jobs returns a namespace's jobs by id, and their mark.
func (s *Store) Jobs(ctx context.Context, namespace string) ([]*scheduler.JobRecord, scheduler.JobsMark, error) {
	kept, err := s.client.HGetAll(ctx, s.keys.jobs(namespace)).Result()
	if err != nil {
		return nil, 0, s.failure("list jobs", err)
	}
	var mark int64
	if text, ok := kept[markID]; ok {
		if mark, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, 0, fmt.Errorf("mark of the jobs in redis: %w", err)
		}
		delete(kept, markID)
	}
	out := make([]*scheduler.JobRecord, 0, len(kept))
	for _, text := range kept {
		rec, err := decodeJob(namespace, text)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b *scheduler.JobRecord) int { return strings.Compare(a.Job.ID, b.Job.ID) })
	return out, scheduler.JobsMark(mark), nil
}
