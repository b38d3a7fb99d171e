package redisstore

import (
	"context"
	"maps"
	"sync"
	"time"
)

// A replica judges by a policy or a job that is at most a second old. Most of that
// second passes before it is read again, by one caller while the others go on with
// what is there; the rest is for that reading to take.
const (
	recentFresh  = 400 * time.Millisecond
	recentUsable = 900 * time.Millisecond
	// recentUsableAway is how old it may be while the node that keeps it is away:
	// then nobody can have changed it, and the other nodes of a Cluster need not
	// wait.
	recentUsableAway = time.Minute
	// recentPatience is how long a reading may take where there is something to go on
	// with: a node that hangs should not hold up what others keep.
	recentPatience = 250 * time.Millisecond
)

// recentTries is how often a policy is asked for before an attempt that has just
// been claimed, and cannot be handed out without it, is left to the end of its
// lease.
const recentTries = 3

// recent keeps the policies or the jobs that judge reports, so that a report needs
// no round trip for them. That there is none is not kept: what is new is known at
// once.
type recent[T any] struct {
	mu sync.Mutex
	of map[recentKey]*recentItem[T]
	// sweptAt is when those were dropped last that were of no more use.
	sweptAt time.Time
}

type recentKey struct{ namespace, id string }

type recentItem[T any] struct {
	// rec is nil where it was changed at readAt, so that what was read of it before
	// then is not kept after.
	rec *T
	// readAt is when the reading began.
	readAt time.Time
	// renewing says that a caller is reading it again.
	renewing bool
	// away says that Redis did not answer, and awayUntil until when nobody asks again.
	away      bool
	awayUntil time.Time
}

// read returns what read did at some moment of the last second, nil when there was
// none.
func (r *recent[T]) read(ctx context.Context, namespace, id string, read func(ctx context.Context, namespace, id string) (*T, error)) (*T, error) {
	key := recentKey{namespace, id}
	if rec := r.get(key, time.Now()); rec != nil {
		return rec, nil
	}
	var err error
	for range recentTries {
		readAt := time.Now()
		var rec *T
		if rec, err = r.attempt(ctx, key, read); err == nil {
			r.put(key, rec, readAt)
			return rec, nil
		}
		if rec := r.failed(key, time.Now(), isUnavailable(err)); rec != nil {
			return rec, nil
		}
		if ctx.Err() != nil || !isUnavailable(err) {
			break
		}
	}
	return nil, err
}

// attempt reads once, with little patience where there is something to go on with.
func (r *recent[T]) attempt(ctx context.Context, key recentKey, read func(ctx context.Context, namespace, id string) (*T, error)) (*T, error) {
	if r.kept(key, time.Now()) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, recentPatience)
		defer cancel()
	}
	return read(ctx, key.namespace, key.id)
}

// kept says whether there is something to go on with while Redis is away.
func (r *recent[T]) kept(key recentKey, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	item := r.of[key]
	return item != nil && item.rec != nil && now.Sub(item.readAt) < recentUsableAway
}

// get returns what may be used, nil when the caller is to read it.
func (r *recent[T]) get(key recentKey, now time.Time) *T {
	r.mu.Lock()
	defer r.mu.Unlock()
	item := r.of[key]
	if item == nil || item.rec == nil {
		return nil
	}
	usable := recentUsable
	if item.away {
		usable = recentUsableAway
	}
	age := now.Sub(item.readAt)
	if age < recentFresh || (age < usable && (item.renewing || now.Before(item.awayUntil))) {
		return item.rec
	}
	item.renewing = true
	return nil
}

// put keeps what a reading that began at readAt has found.
func (r *recent[T]) put(key recentKey, rec *T, readAt time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.of[key]; old != nil && old.readAt.After(readAt) {
		return
	}
	if rec == nil {
		delete(r.of, key)
		return
	}
	r.set(key, &recentItem[T]{rec: rec, readAt: readAt})
}

// set keeps an item, and now and then drops those that are older than anything is used:
// what nobody asks for any more, as it may be gone, and that something was changed, when
// what was read of it before then is as old. So there are as many as were read or changed
// in the last two minutes.
func (r *recent[T]) set(key recentKey, item *recentItem[T]) {
	if r.of == nil {
		r.of = make(map[recentKey]*recentItem[T])
	}
	if now := time.Now(); now.Sub(r.sweptAt) >= recentUsableAway {
		r.sweptAt = now
		maps.DeleteFunc(r.of, func(_ recentKey, item *recentItem[T]) bool { return now.Sub(item.readAt) >= recentUsableAway })
	}
	r.of[key] = item
}

// failed lets the next caller try again, and returns what is there as long as it
// may be used, which is longer where Redis is away.
func (r *recent[T]) failed(key recentKey, now time.Time, away bool) *T {
	r.mu.Lock()
	defer r.mu.Unlock()
	item := r.of[key]
	if item == nil {
		return nil
	}
	item.renewing, item.away = false, away
	usable := recentUsable
	if away {
		usable, item.awayUntil = recentUsableAway, now.Add(recentFresh)
	}
	if now.Sub(item.readAt) < usable {
		return item.rec
	}
	return nil
}

// changed forgets what this replica has written.
func (r *recent[T]) changed(namespace, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(recentKey{namespace, id}, &recentItem[T]{readAt: time.Now()})
}
