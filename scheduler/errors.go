package scheduler

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/retryd/retryd/policy"
)

// Kind is what went wrong, as a caller may act on it. The server gives each a
// gRPC code and a reason.
type Kind uint8

// The kinds. The zero value is none.
const (
	KindUnspecified Kind = iota
	KindInvalid
	KindPayloadTooLarge
	KindPolicyNotFound
	KindJobNotFound
	KindTaskNotFound
	KindQueueNotFound
	KindGroupNotFound
	KindPolicyExists
	KindJobExists
	KindPolicyDeleted
	KindPolicyInUse
	KindKeyReused
	KindLeaseLost
	KindLeaseRequired
	KindOutOfOrder
	KindWrongState
	KindEtagMismatch
	KindUnavailable
	KindFull
	// KindUnconfirmed: it is written, and not yet as durable as the store was told to
	// keep it.
	KindUnconfirmed
	// KindQuota: the namespace has used up a quota; Metadata says which.
	KindQuota
)

// Error is every error that crosses the package's border on purpose; any other
// is a bug.
type Error struct {
	Kind Kind
	// Message is for people. It holds no payload, key or token.
	Message string
	// Metadata is for programs.
	Metadata map[string]string
	// Violations name every field at fault, with KindInvalid and
	// KindPayloadTooLarge.
	Violations []policy.Violation
	// RetryDelay is how long to wait before trying again, with KindUnavailable,
	// KindFull, KindUnconfirmed and KindQuota.
	RetryDelay time.Duration
	// Cause is for logs.
	Cause error
	// Quota is the one that is used up, with KindQuota.
	Quota QuotaKind
}

// Error returns the message, and the first violation where there are any.
func (e *Error) Error() string {
	if len(e.Violations) > 0 {
		v := e.Violations[0]
		return fmt.Sprintf("%s: %s: %s", e.Message, v.Field, v.Description)
	}
	return e.Message
}

// Unwrap returns what caused the error.
func (e *Error) Unwrap() error { return e.Cause }

// Invalid is the error of a request that cannot be carried out as it stands. Its
// message names the fields at fault; the violations tell more.
func Invalid(violations ...policy.Violation) *Error {
	return &Error{Kind: KindInvalid, Message: "the request is invalid: " + fields(violations), Violations: violations}
}

// fields names what is at fault, without its values.
func fields(violations []policy.Violation) string {
	const most = 5
	var names []string
	for _, v := range violations[:min(len(violations), most)] {
		names = append(names, v.Field)
	}
	out := strings.Join(names, ", ")
	if len(violations) > most {
		out += fmt.Sprintf(" and %d more", len(violations)-most)
	}
	return out
}

func violation(field, format string, args ...any) policy.Violation {
	return policy.Violation{Field: field, Description: fmt.Sprintf(format, args...)}
}

// maxNamed is how many things an error names one by one.
const maxNamed = 20

// listed are names for people, such as `"a", "b" and 3 more`.
func listed(names []string) string {
	var out strings.Builder
	for i, name := range names[:min(len(names), maxNamed)] {
		if i > 0 {
			out.WriteString(", ")
		}
		out.WriteString(strconv.Quote(name))
	}
	if more := len(names) - maxNamed; more > 0 {
		fmt.Fprintf(&out, " and %d more", more)
	}
	return out.String()
}

// name tells programs of ids: the first 20 under field, separated by commas, and
// under "more" how many others there are, where there are any.
func (e *Error) name(field string, ids []string) {
	e.Metadata[field] = strings.Join(ids[:min(len(ids), maxNamed)], ",")
	if more := len(ids) - maxNamed; more > 0 {
		e.Metadata["more"] = strconv.Itoa(more)
	}
}

func etagMismatch(what, id string) *Error {
	return &Error{
		Kind:     KindEtagMismatch,
		Message:  fmt.Sprintf("%s %q has changed since that etag was given; read it again", what, id),
		Metadata: map[string]string{what: id},
	}
}

func wrongState(t *Task) *Error {
	return &Error{
		Kind:     KindWrongState,
		Message:  fmt.Sprintf("task %q is %s, which takes no such report", t.Key.ID, t.State),
		Metadata: map[string]string{"task_id": t.Key.ID, "state": t.State.String()},
	}
}

func leaseLost(id string) *Error {
	return &Error{
		Kind:     KindLeaseLost,
		Message:  fmt.Sprintf("the lease token is not that of the current lease of task %q; nothing has changed", id),
		Metadata: map[string]string{"task_id": id},
	}
}
