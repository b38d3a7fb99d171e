package work

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Driver is one system as its users' programs see it. A system that knows no
// batches puts one task after the other.
type Driver interface {
	// Put schedules tasks. It is called by Job.Callers at a time.
	Put(ctx context.Context, tasks []Task) error
	// Consume hands attempts to handle, at most inFlight at a time, until ctx ends.
	// It calls settled once for each attempt that succeeded: when the system has
	// confirmed it, or, where it does not tell, when the handler has returned.
	Consume(ctx context.Context, inFlight int, handle Handler, settled func()) error
	Close() error
}

// Finisher is a Driver that can tell of first attempts that succeeded.
type Finisher interface {
	Finish(ctx context.Context, tasks []Task) error
}

// Handler makes an attempt, and says whether it failed.
type Handler func(d Delivery) (failed bool)

// Task is one to be put.
type Task struct {
	Index int
	// Due is when it is to be handed out; the zero value means at once.
	Due time.Time
	// FirstFailed says that its caller has made the first attempt, which failed,
	// where the system knows of such attempts; else it is handed out at once, and
	// the handler fails it.
	FirstFailed bool
	Payload     string
}

// ID names the task within its run.
func (t *Task) ID() string { return fmt.Sprintf("order-%010d", t.Index) }

// Delivery is an attempt that was handed out.
type Delivery struct {
	Index int
	// Due is when the attempt fell due, by the system's word or else by its task's.
	Due time.Time
}

const (
	indexDigits = 10
	dueDigits   = 19
	// MinPayload is the shortest payload that says which task it is of.
	MinPayload = indexDigits + 1 + dueDigits + 1
)

// RetryDelay is the delay before the second attempt of the tasks of Loop.
const RetryDelay = time.Second

// payload is text that any system can carry: the task's index, when it is due,
// and letters up to its size.
func payload(index int, due time.Time, size int) string {
	var ns int64
	if !due.IsZero() {
		ns = due.UnixNano()
	}
	head := fmt.Sprintf("%0*d %0*d ", indexDigits, index, dueDigits, ns)
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return head + strings.Repeat(letters, size/len(letters)+1)[:max(0, size-len(head))]
}

// ParseDelivery reads a payload that was handed out.
func ParseDelivery(payload string) (Delivery, error) {
	if len(payload) < MinPayload {
		return Delivery{}, fmt.Errorf("a payload of %d bytes is none of ours, which have at least %d", len(payload), MinPayload)
	}
	index, err := strconv.Atoi(payload[:indexDigits])
	if err != nil {
		return Delivery{}, fmt.Errorf("index in payload: %w", err)
	}
	ns, err := strconv.ParseInt(payload[indexDigits+1:indexDigits+1+dueDigits], 10, 64)
	if err != nil {
		return Delivery{}, fmt.Errorf("due time in payload: %w", err)
	}
	return Delivery{Index: index, Due: time.Unix(0, ns)}, nil
}
