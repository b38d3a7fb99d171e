package server

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// The limits of requests; those of a batch, a stream and a page stand with them.
const (
	maxNameBytes       = 100
	maxTaskIDBytes     = 200
	maxKeyBytes        = 255
	maxWorkerBytes     = 255
	maxPayloadBytes    = 128 << 10
	maxAttributes      = 32
	maxAttributesBytes = 8 << 10
	maxAttempt         = 1_000_000_000
	minLease           = time.Second
	maxLease           = 12 * time.Hour
	defaultLease       = 30 * time.Second
	maxWait            = time.Minute
	defaultNamespace   = "default"
)

// checker collects everything that is wrong with a request.
type checker struct {
	// at is put before the names of fields.
	at         string
	violations []policy.Violation
	tooLarge   bool
}

func (c *checker) add(field, format string, args ...any) {
	c.violations = append(c.violations, policy.Violation{Field: c.at + field, Description: fmt.Sprintf(format, args...)})
}

// sound reports whether check finds nothing wrong.
func (c *checker) sound(check func()) bool {
	before := len(c.violations)
	check()
	return len(c.violations) == before
}

// merge adds what could not be read of a message, and what is wrong with what was
// read of it.
func (c *checker) merge(unreadable, wrong []policy.Violation) {
	for _, v := range wire.MergeViolations(unreadable, wrong) {
		c.add(v.Field, "%s", v.Description)
	}
}

// also adds what is wrong with fields in which nothing was found until now.
func (c *checker) also(wrong []policy.Violation) {
	for _, v := range wrong {
		known := slices.ContainsFunc(c.violations, func(found policy.Violation) bool { return found.Field == c.at+v.Field })
		if !known {
			c.add(v.Field, "%s", v.Description)
		}
	}
}

// within returns to the prefix before once the returned function is called.
func (c *checker) within(at string) (back func()) {
	before := c.at
	c.at = before + at
	return func() { c.at = before }
}

// err returns what was found as an error, nil when that is nothing.
func (c *checker) err() error {
	switch {
	case c.tooLarge:
		return &scheduler.Error{Kind: scheduler.KindPayloadTooLarge, Message: "the payload is too large", Violations: c.violations}
	case len(c.violations) > 0:
		return scheduler.Invalid(c.violations...)
	}
	return nil
}

// namespace returns the namespace that is meant.
func (c *checker) namespace(name string) string {
	if name == "" {
		return defaultNamespace
	}
	if !ValidNamespace(name) {
		c.add("namespace", "is %s; allowed: 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', or none for %q", policy.Quote(name), maxNameBytes, defaultNamespace)
	}
	return name
}

// name checks the name of a queue, group, condition or environment.
func (c *checker) name(field, name string) {
	if !policy.ValidName(name) {
		c.add(field, "is %s; allowed: %s", policy.Quote(name), policy.NameRule)
	}
}

func (c *checker) optionalName(field, name string) {
	if name != "" {
		c.name(field, name)
	}
}

// id checks the id of a policy or a job.
func (c *checker) id(field, id string) {
	if !policy.ValidID(id) {
		c.add(field, "is %s; allowed: 1 to 63 of a-z, 0-9 and '-'", policy.Quote(id))
	}
}

func (c *checker) optionalID(field, id string) {
	if id != "" {
		c.id(field, id)
	}
}

func (c *checker) taskID(field, id string) {
	c.text(field, id, maxTaskIDBytes)
	if strings.ContainsFunc(id, unicode.IsControl) {
		c.add(field, "is %s, which has control characters; allowed: none of them", policy.Quote(id))
	}
}

func (c *checker) worker(id string) {
	c.text("worker_id", id, maxWorkerBytes)
	if strings.ContainsFunc(id, unicode.IsControl) {
		c.add("worker_id", "is %s, which has control characters; allowed: none of them", policy.Quote(id))
	}
}

// text checks the length of a free text, and that it is one.
func (c *checker) text(field, s string, maxBytes int) {
	if len(s) > maxBytes {
		c.add(field, "has %d bytes; allowed: at most %d", len(s), maxBytes)
	}
	if !utf8.ValidString(s) {
		c.add(field, "is not valid UTF-8")
	}
}

func (c *checker) timeZone(field, name string) {
	if name != "" && !policy.ValidTimeZone(name) {
		c.add(field, "is %s; allowed: the name of an IANA time zone, such as Europe/Berlin", policy.Quote(name))
	}
}

// validTime checks that t can be read. It is true for none, too.
func (c *checker) validTime(field string, t *timestamppb.Timestamp) bool {
	if t != nil && t.CheckValid() != nil {
		c.add(field, "is no valid time; allowed: the years 1 to 9999, with 0 to 999,999,999 nanoseconds")
		return false
	}
	return true
}

// time checks a moment that something is decided by. What lies before 1970 is a
// mistake, and an empty Timestamp reads as its first moment.
func (c *checker) time(field string, t *timestamppb.Timestamp) {
	if t != nil && c.validTime(field, t) && wire.MS(t) <= 0 {
		c.add(field, "is %s; allowed: a time after 1970-01-01T00:00:00Z", t.AsTime().Format(time.RFC3339Nano))
	}
}

// validDuration checks that d can be read. It is true for none, too.
func (c *checker) validDuration(field string, d *durationpb.Duration) bool {
	if d != nil && d.CheckValid() != nil {
		c.add(field, "is no valid duration; allowed: seconds and nanoseconds of the same sign, with less than a second of nanoseconds")
		return false
	}
	return true
}

// duration checks d against its limits and returns it, 0 for none.
func (c *checker) duration(field string, d *durationpb.Duration, least, most time.Duration) time.Duration {
	if !c.validDuration(field, d) {
		return 0
	}
	v := d.AsDuration()
	if v < least || v > most {
		c.add(field, "is %s; allowed: %s to %s", v, least, most)
	}
	return wire.Duration(d)
}

// lease checks the length of a lease and returns it, 0 where none is given.
func (c *checker) lease(field string, d *durationpb.Duration) time.Duration {
	if d.GetSeconds() == 0 && d.GetNanos() == 0 {
		return 0
	}
	return c.duration(field, d, minLease, maxLease)
}

// ValidNamespace reports whether s may name a namespace.
func ValidNamespace(s string) bool {
	return policy.ValidName(s) && !strings.ContainsAny(s, ":/")
}
