package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// FailureFrom makes any error into a failure, as [Client.ReportFailure] and
// workers do:
//
//   - a [*Failure] that err is or wraps is taken as it is;
//   - a gRPC status is a gRPC failure, with the delay of its RetryInfo;
//   - an error with a method StatusCode or HTTPStatusCode that gives an int, as
//     those of many SDKs, is an HTTP failure;
//   - what errors.Is or errors.As knows as a deadline, a time-out, or trouble
//     with DNS, TLS or the connection is that;
//   - a cancelled context is the outcome "canceled", and everything else the
//     outcome "error".
//
// [Permanent] anywhere around it makes it permanent. The message is that of err,
// without URLs, since those of webhooks often hold secrets. It is nil when err
// is.
func FailureFrom(err error) *Failure {
	if err == nil {
		return nil
	}
	var f Failure
	if own, ok := errors.AsType[*Failure](err); ok && own != nil {
		f = *own
	} else {
		f = classify(err)
		if f.Message == "" {
			f.Message = scrub(err)
		}
		f.err = err
	}
	if _, ok := errors.AsType[*permanentError](err); ok {
		f.Permanent = true
	}
	return &f
}

// Permanent marks an error as one that no retry mends: the task becomes a dead
// letter at once, whatever its policy says. It is nil when err is.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Release is what a handler returns to hand its attempt back unfinished: it
// falls due again after the delay, at once when that is zero, and burns no
// retry.
func Release(delay time.Duration) error { return &releaseError{max(0, delay)} }

type releaseError struct{ delay time.Duration }

func (e *releaseError) Error() string { return "released for " + e.delay.String() }

func classify(err error) Failure {
	if f, ok := fromStatus(err); ok {
		return f
	}
	if status, ok := httpStatusOf(err); ok {
		return *HTTPFailure(status, "")
	}
	if isTimeout(err) {
		return *TimeoutFailure()
	}
	if kind, ok := connectionKind(err); ok {
		return *ConnectionFailure(kind)
	}
	if errors.Is(err, context.Canceled) {
		return *OutcomeFailure("canceled")
	}
	return *OutcomeFailure("error")
}

func fromStatus(err error) (Failure, bool) {
	var with interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &with) {
		return Failure{}, false
	}
	s := with.GRPCStatus()
	if s.Code() == codes.OK {
		return Failure{}, false
	}
	f := *GRPCFailure(s.Code())
	f.Message = scrubText(s.Message())
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			f.RetryAfter = max(0, info.GetRetryDelay().AsDuration())
		}
	}
	return f, true
}

func httpStatusOf(err error) (int, bool) {
	var (
		short interface{ StatusCode() int }
		long  interface{ HTTPStatusCode() int }
		n     int
	)
	switch {
	case errors.As(err, &short):
		n = short.StatusCode()
	case errors.As(err, &long):
		n = long.HTTPStatusCode()
	}
	return n, n >= 100 && n <= 599
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return false // a resolver that is too slow is the resolver's trouble
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func connectionKind(err error) (ConnectionKind, bool) {
	switch {
	case is[*net.DNSError](err):
		return ConnectionDNS, true
	case isTLS(err):
		return ConnectionTLS, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return ConnectionReset, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ConnectionUnreachable, true
	case !is[*url.Error](err) && !is[*net.OpError](err):
		return "", false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// Only from the network: a decoder that runs short says the same.
		return ConnectionReset, true
	case errors.Is(err, context.Canceled):
		return "", false
	default:
		return ConnectionOther, true
	}
}

func isTLS(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[tls.RecordHeaderError](err) ||
		is[tls.AlertError](err) || is[x509.UnknownAuthorityError](err) ||
		is[x509.HostnameError](err) || is[x509.CertificateInvalidError](err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// scrub is the text of an error without URLs: what net/http returns names the
// whole URL, with whatever token its path and query hold.
func scrub(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok && u.Err != nil {
		text = strings.ReplaceAll(text, u.Error(), u.Op+": "+u.Err.Error())
	}
	return scrubText(text)
}

// urls finds absolute URLs, and paths with a query.
var urls = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.\-]*://[^\s"']+|[^\s"']*\?[^\s"']+`)

func scrubText(text string) string { return urls.ReplaceAllString(text, "[url]") }
