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

// The kinds of connection failure. The zero value is none, which no valid
// failure has.
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
	// Cause must be given. Of the fields that name a cause below, only those of
	// this one are looked at.
	Cause Cause
	// HTTPStatus is 100 to 599, with CauseHTTP.
	HTTPStatus int
	// RetryAfterHeader is the Retry-After header as received, with CauseHTTP:
	// seconds or an HTTP-date. One that is neither is no hint, not an error.
	RetryAfterHeader string
	// GRPCCode is 1 to 16, with CauseGRPC.
	GRPCCode int
	// ConnectionKind comes with CauseConnection.
	ConnectionKind ConnectionKind
	// Outcome comes with CauseOutcome, such as "busy"; 1 to 255 bytes.
	Outcome string
	// Code is the provider's own, such as "30007"; at most 255 bytes. It may come
	// with any cause.
	Code string
	// Message is for people; no decision depends on it.
	Message string
	// RetryAfter is the destination's hint where it is no HTTP header; 0 is none,
	// and so is a negative one.
	RetryAfter time.Duration
	// Permanent failures are never retried, whatever the policy says.
	Permanent bool
	// TimeMS is when it happened, as Unix milliseconds; history only.
	TimeMS int64
}

// maxTokenBytes bounds codes and outcomes, in failures and in matches alike:
// a longer one in a policy could never match.
const maxTokenBytes = 255

// Validate gives everything that is wrong with the failure, its fields named
// as in the API's Failure message; nil means valid.
func (f Failure) Validate() []Violation {
	var c checker
	switch f.Cause {
	case CauseHTTP:
		if !validStatus(f.HTTPStatus) {
			c.add("http.status", "is %d; allowed: 100 to 599", f.HTTPStatus)
		}
	case CauseGRPC:
		if f.GRPCCode < 1 || f.GRPCCode > 16 {
			c.add("grpc.code", "is %d; allowed: 1 to 16", f.GRPCCode)
		}
	case CauseTimeout:
	case CauseConnection:
		if !validKind(f.ConnectionKind) {
			c.add("connection.kind", "is %v; allowed: DNS, REFUSED, RESET, TLS, UNREACHABLE or OTHER", f.ConnectionKind)
		}
	case CauseOutcome:
		if f.Outcome == "" {
			c.add("outcome", "is empty; allowed: 1 to %d bytes", maxTokenBytes)
		}
		c.text("outcome", f.Outcome)
	default:
		c.add("cause", "is missing; one of http, grpc, timeout, connection and outcome must be set")
	}
	c.text("code", f.Code)
	return c.list
}

func validStatus(status int) bool { return status >= 100 && status <= 599 }

func validKind(k ConnectionKind) bool { return k >= ConnectionDNS && k <= ConnectionOther }
