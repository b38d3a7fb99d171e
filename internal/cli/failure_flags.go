package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// failureFlags are the flags that tell failures. Each that names a cause begins one;
// the others add to the one before them: so several failures are told in order.
type failureFlags struct{ list []*retryv1.Failure }

// failureFlag is one of them.
type failureFlag struct {
	kind string
	set  func(value string) error
}

// String implements [pflag.Value].
func (*failureFlag) String() string { return "" }

// Set implements [pflag.Value].
func (f *failureFlag) Set(value string) error { return f.set(value) }

// Type implements [pflag.Value].
func (f *failureFlag) Type() string { return f.kind }

// addTo adds the flags to a command.
func (f *failureFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	cause := func(name, kind, usage string, read func(value string) (*retryv1.Failure, error)) {
		flags.Var(&failureFlag{kind, func(value string) error {
			failure, err := read(value)
			if err == nil {
				f.list = append(f.list, failure)
			}
			return err
		}}, name, usage)
	}
	more := func(name, kind, usage string, add func(failure *retryv1.Failure, value string) error) {
		flags.Var(&failureFlag{kind, func(value string) error {
			if len(f.list) == 0 {
				return errors.New("it adds to the failure that stands before it, and there is none: give --http, --grpc, --timed-out, --connection or --outcome first")
			}
			return add(f.list[len(f.list)-1], value)
		}}, name, usage)
	}
	cause("http", "status", "failure: an HTTP status, 100 to 599", httpFailure)
	cause("grpc", "code", "failure: a gRPC status code, such as UNAVAILABLE", grpcFailure)
	cause("timed-out", "bool", "failure: no answer came in time", timeoutFailure)
	flags.Lookup("timed-out").NoOptDefVal = "true"
	cause("connection", "kind", "failure: the connection failed: dns, refused, reset, tls, unreachable or other", connectionFailure)
	kinds := newEnumFlag[retryv1.ConnectionFailure_Kind]("KIND_")
	// It fails only where there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("connection", cobra.FixedCompletions(kinds.names(), cobra.ShellCompDirectiveNoFileComp))
	cause("outcome", "word", "failure: an outcome in your own words, such as busy", func(value string) (*retryv1.Failure, error) {
		return &retryv1.Failure{Cause: &retryv1.Failure_Outcome{Outcome: value}}, nil
	})
	more("retry-after", "hint", "how long the destination asked to wait, with the failure before it: 120 or a date as in the HTTP header, or 2m", addRetryAfter)
	more("code", "text", "the provider's own code, with the failure before it", func(failure *retryv1.Failure, value string) error {
		failure.Code = value
		return nil
	})
	more("message", "text", "a text for people, with the failure before it", func(failure *retryv1.Failure, value string) error {
		failure.Message = value
		return nil
	})
	more("permanent", "bool", "the failure before it is never to be retried", func(failure *retryv1.Failure, value string) (err error) {
		failure.Permanent, err = truth(value)
		return err
	})
	flags.Lookup("permanent").NoOptDefVal = "true"
}

func httpFailure(value string) (*retryv1.Failure, error) {
	status, err := strconv.ParseInt(value, 10, 32)
	if err != nil || status < 100 || status > 599 {
		return nil, errors.New("it must be a status from 100 to 599")
	}
	return &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: int32(status)}}}, nil
}

func grpcFailure(value string) (*retryv1.Failure, error) {
	name := strings.ReplaceAll(strings.ToUpper(value), "-", "_")
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if name == grpcCode(code) || value == strconv.Itoa(int(code)) {
			return &retryv1.Failure{Cause: &retryv1.Failure_Grpc{Grpc: &retryv1.GrpcFailure{Code: int32(code)}}}, nil //nolint:gosec // at most 16
		}
	}
	return nil, errors.New("it must be a status code other than OK, such as UNAVAILABLE, or its number from 1 to 16")
}

func timeoutFailure(value string) (*retryv1.Failure, error) {
	if on, err := truth(value); err != nil || !on {
		return nil, errors.New("it takes no value but true")
	}
	return &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}}, nil
}

func connectionFailure(value string) (*retryv1.Failure, error) {
	kind := newEnumFlag[retryv1.ConnectionFailure_Kind]("KIND_")
	if err := kind.Set(value); err != nil {
		return nil, err
	}
	return &retryv1.Failure{Cause: &retryv1.Failure_Connection{Connection: &retryv1.ConnectionFailure{Kind: kind.value}}}, nil
}

// addRetryAfter takes a length of time, or what an HTTP header holds.
func addRetryAfter(failure *retryv1.Failure, value string) error {
	if d, err := time.ParseDuration(value); err == nil && d > 0 {
		failure.RetryAfter = durationpb.New(d)
		return nil
	}
	if failure.GetHttp() == nil {
		return errors.New("it must be a duration, such as 2m; seconds without a unit, and dates, stand in HTTP headers only")
	}
	failure.GetHttp().RetryAfter = value
	return nil
}

func truth(value string) (bool, error) {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, errors.New("it must be true or false")
	}
	return on, nil
}

// one returns the failure where there may be only one.
func (f *failureFlags) one() (*retryv1.Failure, error) {
	switch len(f.list) {
	case 0:
		return nil, usagef("say how the attempt failed: --http, --grpc, --timed-out, --connection or --outcome; or give --success")
	case 1:
		return f.list[0], nil
	default:
		return nil, usagef("%d failures are given: one report tells one attempt", len(f.list))
	}
}

// words tells the failures in short, for the head of a preview.
func (f *failureFlags) words() string {
	var out []string
	for _, failure := range f.list {
		out = append(out, failureWords(failure))
	}
	// Many that are the same need not all be named.
	if same := slices.Compact(slices.Clone(out)); len(same) == 1 && len(out) > 1 {
		return same[0]
	}
	if len(out) > 4 {
		out = append(out[:4], fmt.Sprintf("%d more", len(out)-4))
	}
	return strings.Join(out, ", then ")
}
