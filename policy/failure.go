package policy

import "time"

// Cause says what kind of failure an attempt met.
type Cause uint8

// The causes. The zero value is none, which no valid failure has.
const (
	CauseUnspecified Cause = iota
	// CauseHTTP is an HTTP answer; see Failure.HTTPStatus.
	CauseHTTP
	// CauseGRPC is a gRPC status; see Failure.GRPCCode.
	CauseGRPC
	// CauseTimeout is no answer in time.
	CauseTimeout
	// CauseConnection is no connection; see Failure.ConnectionKind.
	CauseConnection
	// CauseOutcome is a result in the caller's own words; see Failure.Outcome.
	CauseOutcome
)

// ConnectionKind says why there was no connection.
type ConnectionKind uint8

// The kinds of connection failure.
const (
	ConnectionUnspecified ConnectionKind = iota
	ConnectionDNS
	ConnectionRefused
	ConnectionReset
	ConnectionTLS
	ConnectionUnreachable
	ConnectionOther
)

// Failure is what one attempt met, as its caller reported it.
type Failure struct {
	Cause Cause
	// HTTPStatus is 100 to 599, with CauseHTTP.
	HTTPStatus int
	// RetryAfterHeader is the Retry-After header as received, with CauseHTTP.
	RetryAfterHeader string
	// GRPCCode is 1 to 16, with CauseGRPC.
	GRPCCode int
	// ConnectionKind comes with CauseConnection.
	ConnectionKind ConnectionKind
	// Outcome comes with CauseOutcome, such as "busy".
	Outcome string
	// Code is the provider's own, such as "30007".
	Code string
	// Message is for people; no decision depends on it.
	Message string
	// RetryAfter is the destination's hint where it is no HTTP header; 0 is none.
	RetryAfter time.Duration
	// Permanent failures are never retried, whatever the policy says.
	Permanent bool
	// TimeMS is when it happened, as Unix milliseconds; history only.
	TimeMS int64
}
