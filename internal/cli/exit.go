package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

// The exit codes. They are told to people by [ExitCodes].
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitUnavailable = 5
	exitConflict    = 6
	exitInterrupted = 130
)

// ExitCodes are the exit codes with what each means, in ascending order.
var ExitCodes = []struct {
	Code    int
	Meaning string
}{
	{exitOK, "done"},
	{exitFailure, "failed; also when some of several things failed"},
	{exitUsage, "called wrongly: flags, arguments, settings or what the server says of the request"},
	{exitNotFound, "what was named is not there"},
	{exitDenied, "refused by access control: no valid identity, or not allowed"},
	{exitUnavailable, "no answer in time: the server, or its store, is away or full, or a quota is used up"},
	{exitConflict, "the state of things does not allow it: it exists already, has changed, or is in another state"},
	{exitInterrupted, "interrupted by Ctrl-C or a signal"},
}

// answer is what a server, or the way to it, answered instead of a result.
type answer struct {
	code       codes.Code
	reason     string
	message    string
	metadata   map[string]string
	violations []*errdetails.BadRequest_FieldViolation
	quotas     []*errdetails.QuotaFailure_Violation
	retry      time.Duration
	// text is how the error was written that carried it.
	text string
}

// answerOf reads an error that is, or wraps, an answer of a server.
func answerOf(err error) (answer, bool) {
	var with interface {
		error
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &with) || with.GRPCStatus().Code() == codes.OK {
		return answer{}, false
	}
	s := with.GRPCStatus()
	a := answer{code: s.Code(), reason: client.ReasonOf(err), message: s.Message(), text: with.Error()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			a.metadata = d.GetMetadata()
		case *errdetails.BadRequest:
			a.violations = d.GetFieldViolations()
		case *errdetails.QuotaFailure:
			a.quotas = d.GetViolations()
		case *errdetails.RetryInfo:
			a.retry = d.GetRetryDelay().AsDuration()
		}
	}
	return a, true
}

// coded is an error with an exit code of its own.
type coded struct {
	error
	code int
}

// exitCode is the code for an error.
func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitOK
	case isUsage(err):
		return exitUsage
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled):
		return exitInterrupted
	}
	if c, ok := errors.AsType[*coded](err); ok {
		return c.code
	}
	a, ok := answerOf(err)
	if !ok {
		return exitFailure
	}
	switch a.code {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return exitUsage
	case codes.NotFound:
		return exitNotFound
	case codes.Unauthenticated, codes.PermissionDenied:
		return exitDenied
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return exitUnavailable
	case codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted:
		return exitConflict
	default:
		return exitFailure
	}
}

// explain says what went wrong, and where it is known what to do, on lines of
// their own.
func explain(ctx context.Context, err error) string {
	if exitCode(ctx, err) == exitInterrupted {
		return "interrupted"
	}
	a, ok := answerOf(err)
	if !ok {
		return clean(strings.TrimSpace(err.Error()), true)
	}
	said := a.message
	if a.reason != "" {
		said += " (" + a.reason + ")"
	} else if a.code != codes.Unavailable {
		said += " (" + a.code.String() + ")"
	}
	var b strings.Builder
	b.WriteString(clean(strings.Replace(err.Error(), a.text, said, 1), true))
	for _, v := range a.violations {
		line := v.GetDescription()
		if v.GetField() != "" {
			line = v.GetField() + ": " + line
		}
		fmt.Fprintf(&b, "\n  %s", clean(line, false))
	}
	for _, v := range a.quotas {
		if strings.Contains(a.message, v.GetDescription()) {
			continue // the server's message is what it says of the quota
		}
		fmt.Fprintf(&b, "\n  %s: %s", clean(v.GetSubject(), false), clean(v.GetDescription(), false))
	}
	if hint := hintFor(a); hint != "" {
		fmt.Fprintf(&b, "\n  %s", hint)
	}
	return b.String()
}

// hintFor says what to do.
func hintFor(a answer) string {
	switch a.reason {
	case "POLICY_NOT_FOUND":
		return "see what there is: retryd policy list"
	case "POLICY_DELETED":
		return "bring it back: retryd policy undelete ID"
	case "POLICY_IN_USE":
		return "let these jobs name another policy first: " + clean(a.metadata["jobs"], false)
	case "JOB_NOT_FOUND":
		return "see what there is: retryd job list"
	case "QUEUE_NOT_FOUND":
		return "see what there is: retryd queue list"
	case "TASK_NOT_FOUND":
		return "it is in another namespace (-n), or has ended and is no longer remembered"
	case "ETAG_MISMATCH":
		return "somebody has changed it meanwhile: look at it, then try again"
	case "UNAUTHENTICATED":
		return "give a valid token (--token-file, --token) or client certificate (--tls-cert, --tls-key)"
	case "PERMISSION_DENIED":
		return "use an identity that has the role, and this namespace (-n), in the server's --access file"
	}
	if a.reason == "" && a.code == codes.Unavailable {
		return hintForTransport(a.message)
	}
	switch {
	case a.reason == "" && a.code == codes.DeadlineExceeded:
		return "give it longer (--timeout), or see whether it is well: retryd status"
	case a.retry > 0:
		return fmt.Sprintf("try again in %s", span(a.retry))
	}
	return ""
}

// hintForTransport says what to do where there was no server to answer. What went
// wrong on the way stands in the text alone.
func hintForTransport(message string) string {
	switch {
	case strings.Contains(message, "first record does not look like a TLS handshake"):
		return "the server speaks no TLS; if nobody can listen on the way to it, give --tls=false"
	case strings.Contains(message, "certificate required"), strings.Contains(message, "bad certificate"):
		return "the server wants a client certificate: give --tls-cert and --tls-key"
	case strings.Contains(message, "x509:"):
		return "name the authority that has signed the server's certificate (--tls-ca), or the name in it (--tls-server-name)"
	case strings.Contains(message, "error reading server preface"), strings.Contains(message, "connection closed before server preface"):
		return "the server may want TLS: give --tls"
	default:
		return "see whether it runs, and whether --address (RETRYD_ADDRESS) is right"
	}
}
