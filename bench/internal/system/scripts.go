package system

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/retryd/retryd/bench/internal/work"
)

// scripts is the least that any system on Redis has to do: a value and a place in
// a sorted set for each task, written by one script for a batch. There are no
// tokens, no history, no idempotency, and one shard.
type scripts struct {
	redis *redis.Client
}

// putScript keeps tasks. KEYS: the sorted set. ARGV: for each task its key, when
// it is due in ms, its value.
var putScript = redis.NewScript(`
local places = {}
for i = 1, #ARGV, 3 do
  redis.call('SET', ARGV[i], ARGV[i + 2])
  places[#places + 1] = ARGV[i + 1]
  places[#places + 1] = ARGV[i]
end
return redis.call('ZADD', KEYS[1], unpack(places))
`)

// claimScript returns up to ARGV[1] due tasks, as key and value in turn, and hides
// them for ARGV[2] ms. KEYS: the sorted set.
var claimScript = redis.NewScript(`
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[1])
if #due == 0 then return {} end
local places, out = {}, {}
local values = redis.call('MGET', unpack(due))
for i = 1, #due do
  places[#places + 1] = ms + ARGV[2]
  places[#places + 1] = due[i]
  out[#out + 1] = due[i]
  out[#out + 1] = values[i]
end
redis.call('ZADD', KEYS[1], 'XX', unpack(places))
return out
`)

// endScript forgets the tasks of ARGV. KEYS: the sorted set.
var endScript = redis.NewScript(`
redis.call('ZREM', KEYS[1], unpack(ARGV))
return redis.call('UNLINK', unpack(ARGV))
`)

const (
	scriptsDue = "due"
	// claimBatch is how many tasks the raw loops claim and end at a time.
	claimBatch = 64
	// scriptsLeaseMS is for how long a claimed task is hidden.
	scriptsLeaseMS = 30_000
	// recordBytes is what a small record of a task takes beside its payload.
	recordBytes = 100
)

func openScripts(ctx context.Context, job *work.Job) (work.Driver, error) {
	d := &scripts{redis: redis.NewClient(&redis.Options{Addr: job.Addr[AddrRedis]})}
	for _, s := range []*redis.Script{putScript, claimScript, endScript} {
		if err := s.Load(ctx, d.redis).Err(); err != nil {
			return nil, errors.Join(fmt.Errorf("load a script: %w", err), d.Close())
		}
	}
	return d, nil
}

// Close implements [work.Driver].
func (d *scripts) Close() error { return d.redis.Close() }

// Put implements [work.Driver].
func (d *scripts) Put(ctx context.Context, tasks []work.Task) error {
	args := make([]any, 0, 3*len(tasks))
	for i := range tasks {
		args = append(args, tasks[i].ID(), tasks[i].Due.UnixMilli(), record(tasks[i].Payload))
	}
	if err := putScript.Run(ctx, d.redis, []string{scriptsDue}, args...).Err(); err != nil {
		return fmt.Errorf("put %d tasks: %w", len(tasks), err)
	}
	return nil
}

// record is a payload behind a header as long as that of a small record.
func record(payload string) []byte {
	header := make([]byte, recordBytes, recordBytes+len(payload))
	binary.LittleEndian.PutUint64(header, uint64(len(payload)))
	return append(header, payload...)
}

// Consume implements [work.Driver]: loops of claim and end, as many as fill
// inFlight.
func (d *scripts) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	g, ctx := errgroup.WithContext(ctx)
	for range max(1, inFlight/claimBatch) {
		g.Go(func() error {
			for ctx.Err() == nil {
				if err := d.pass(ctx, handle, settled); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (d *scripts) pass(ctx context.Context, handle work.Handler, settled func()) error {
	claimed, err := claimScript.Run(ctx, d.redis, []string{scriptsDue}, claimBatch, strconv.Itoa(scriptsLeaseMS)).StringSlice()
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	var ids []any
	for i := 0; i+1 < len(claimed); i += 2 {
		got, err := work.ParseDelivery(claimed[i+1][recordBytes:])
		if err != nil {
			return err
		}
		handle(got)
		ids = append(ids, claimed[i])
	}
	if len(ids) == 0 {
		return nil
	}
	if err := endScript.Run(ctx, d.redis, []string{scriptsDue}, ids...).Err(); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	for range ids {
		settled()
	}
	return nil
}
