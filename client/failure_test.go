package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
)

// sdkError is like the errors of SDKs that name the status of the response.
type sdkError struct{ status int }

func (e *sdkError) Error() string   { return "sdk" }
func (e *sdkError) StatusCode() int { return e.status }

func TestFailureFrom(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	call := func(err error) error {
		return &url.Error{Op: "Post", URL: "https://example.com/hook?token=secret", Err: err}
	}
	busy, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	own := client.HTTPFailure(429, "120")
	for name, test := range map[string]struct {
		err     error
		cause   client.Cause
		message string
	}{
		"any error":          {errors.New("boom"), client.OutcomeCause("error"), "boom"},
		"its own":            {fmt.Errorf("call: %w", own), client.HTTPCause{Status: 429, RetryAfter: "120"}, ""},
		"deadline":           {context.DeadlineExceeded, client.TimeoutCause{}, "context deadline exceeded"},
		"deadline of a file": {os.ErrDeadlineExceeded, client.TimeoutCause{}, "i/o timeout"},
		"cancelled":          {context.Canceled, client.OutcomeCause("canceled"), "context canceled"},
		"cancelled request":  {call(context.Canceled), client.OutcomeCause("canceled"), "Post: context canceled"},
		"gRPC":               {status.Error(codes.Unavailable, "away"), client.GRPCCause{codes.Unavailable}, "away"},
		"gRPC deadline":      {status.Error(codes.DeadlineExceeded, "slow"), client.GRPCCause{codes.DeadlineExceeded}, "slow"},
		"gRPC with a delay":  {fmt.Errorf("call: %w", busy.Err()), client.GRPCCause{codes.ResourceExhausted}, "busy"},
		"an SDK's status":    {&sdkError{502}, client.HTTPCause{Status: 502}, "sdk"},
		"an SDK's nonsense":  {&sdkError{0}, client.OutcomeCause("error"), "sdk"},
		"DNS":                {call(dial(&net.DNSError{Err: "no such host", Name: "example.com"})), connection("DNS"), "Post: dial tcp: lookup example.com: no such host"},
		"slow DNS":           {dial(&net.DNSError{Err: "timeout", Name: "example.com", IsTimeout: true}), connection("DNS"), "dial tcp: lookup example.com: timeout"},
		"refused":            {call(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))), connection("REFUSED"), "Post: dial tcp: connect: connection refused"},
		"reset":              {call(os.NewSyscallError("read", syscall.ECONNRESET)), connection("RESET"), "Post: read: connection reset by peer"},
		"broken pipe":        {syscall.EPIPE, connection("RESET"), "broken pipe"},
		"cut off":            {call(io.EOF), connection("RESET"), "Post: EOF"},
		"a short text":       {io.ErrUnexpectedEOF, client.OutcomeCause("error"), "unexpected EOF"},
		"no route":           {dial(syscall.EHOSTUNREACH), connection("UNREACHABLE"), "dial tcp: no route to host"},
		"no network":         {dial(syscall.ENETUNREACH), connection("UNREACHABLE"), "dial tcp: network is unreachable"},
		"TLS":                {call(tls.AlertError(40)), connection("TLS"), "Post: tls: handshake failure"},
		"not TLS":            {call(tls.RecordHeaderError{Msg: "oops"}), connection("TLS"), "Post: tls: oops"},
		"other connection":   {dial(errors.New("odd")), connection("OTHER"), "dial tcp: odd"},
		"other request":      {call(errors.New("stopped after 10 redirects")), connection("OTHER"), "Post: stopped after 10 redirects"},
		"wrapped request":    {fmt.Errorf("deliver 7: %w", call(io.EOF)), connection("RESET"), "deliver 7: Post: EOF"},
		"a URL in the text":  {errors.New(`bad "https://u:p@example.com/x?k=secret" and /y?k=secret`), client.OutcomeCause("error"), `bad "[url]" and [url]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := client.FailureFrom(test.err)
			if f.Cause != test.cause || f.Message != test.message || f.Permanent {
				t.Errorf("failure is %v, %q, permanent: %t; want %v, %q", f.Cause, f.Message, f.Permanent, test.cause, test.message)
			}
			if !errors.Is(f, test.err) && !errors.As(test.err, new(*client.Failure)) {
				t.Error("the error is lost")
			}
			p := client.FailureFrom(fmt.Errorf("so: %w", client.Permanent(test.err)))
			if !p.Permanent || p.Cause != test.cause {
				t.Errorf("made permanent, it is %v, permanent: %t", p.Cause, p.Permanent)
			}
		})
	}
	if own.Permanent {
		t.Error("Permanent has changed the caller's own failure")
	}
	if f := client.FailureFrom(busy.Err()); f.RetryAfter != time.Minute {
		t.Errorf("the delay of a gRPC status is %s", f.RetryAfter)
	}
	if client.FailureFrom(nil) != nil || client.Permanent(nil) != nil {
		t.Error("nil is a failure")
	}
}

func connection(kind client.ConnectionKind) client.Cause { return client.ConnectionCause{Kind: kind} }

// The real errors of net/http, not only those that a test thinks of.
func TestCheckHTTP(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop?token=secret", http.StatusFound)
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://%zz/?token=secret")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	mux.HandleFunc("/reset", func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
	plain := httptest.NewServer(mux)
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = discardLog()
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(mux)
	closed.Close()

	for name, test := range map[string]struct {
		url  string
		want client.Cause
	}{
		"ok":            {plain.URL + "/ok", nil},
		"busy":          {plain.URL + "/busy", client.HTTPCause{Status: 429, RetryAfter: "Fri, 31 Dec 1999 23:59:59 GMT"}},
		"no success":    {plain.URL + "/moved", client.HTTPCause{Status: 304}},
		"not found":     {plain.URL + "/none", client.HTTPCause{Status: 404}},
		"loop":          {plain.URL + "/loop", connection("OTHER")},
		"bad location":  {plain.URL + "/bad", connection("OTHER")},
		"too slow":      {plain.URL + "/slow", client.TimeoutCause{}},
		"cut off":       {plain.URL + "/cut", connection("RESET")},
		"reset":         {plain.URL + "/reset", connection("RESET")},
		"refused":       {closed.URL + "/ok", connection("REFUSED")},
		"not trusted":   {secure.URL + "/ok", connection("TLS")},
		"not TLS":       {strings.Replace(plain.URL, "http:", "https:", 1), connection("OTHER")},
		"no such host":  {"http://retryd.invalid/", connection("DNS")},
		"no such thing": {"gopher://retryd.invalid/", connection("OTHER")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patience := time.Minute
			if test.want == (client.TimeoutCause{}) {
				patience = 50 * time.Millisecond
			}
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			hc := &http.Client{Timeout: patience, Transport: tr}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, test.url+"?token=secret", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := hc.Do(req)
			if err == nil {
				defer func() { _ = resp.Body.Close() }()
			}
			got := client.CheckHTTP(resp, err)
			if test.want == nil {
				if got != nil {
					t.Errorf("failure is %v", got)
				}
				return
			}
			var f *client.Failure
			if !errors.As(got, &f) || f.Cause != test.want {
				t.Fatalf("failure is %v (%v), want %v", got, err, test.want)
			}
			if strings.Contains(f.Message, "secret") || strings.Contains(got.Error(), "secret") {
				t.Errorf("it tells a secret: %q", f.Message)
			}
		})
	}
	if err := client.CheckHTTP(nil, nil); err == nil {
		t.Error("no response at all is a success")
	}
}

func FuzzFailureTellsNoQuery(f *testing.F) {
	f.Add("https://example.com/hook", "k=v", "Post")
	f.Add("/hook", "token", "parse")
	f.Add("http://[::1]:80/a b", "x y", "")
	f.Fuzz(func(t *testing.T, base, query, op string) {
		const secret = "s3cr3t"
		u := base + "?" + query + secret
		if strings.ContainsAny(u, " \t\r\n\v\f\"'\\") {
			t.Skip("such a URL is escaped before it is told")
		}
		err := fmt.Errorf("deliver: %w", &url.Error{Op: op, URL: u, Err: fmt.Errorf("redirected to %s: %w", u, io.EOF)})
		if got := client.FailureFrom(err).Message; strings.Contains(got, secret) {
			t.Errorf("message is %q", got)
		}
	})
}
