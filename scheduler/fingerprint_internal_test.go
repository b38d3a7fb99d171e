package scheduler

import (
	"testing"

	"github.com/retryd/retryd/policy"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ message, want string }{
		{"", ""},
		{"EOF", "EOF"},
		{"Insufficient funds. Please retry.", "Insufficient funds. Please retry."},
		{"dial tcp 10.0.0.7:443: connect: connection refused", "dial tcp #: connect: connection refused"},
		{"read tcp 192.168.1.5:51234->10.0.0.7:443: i/o timeout", "read tcp #->#: i/o timeout"},
		{"read tcp [::1]:51234->[2001:db8::1]:443: read: connection reset by peer", "read tcp [#]#->[#]#: read: connection reset by peer"},
		{"lookup hooks.example.com on 127.0.0.11:53: no such host", "lookup # on #: no such host"},
		{`Post "https://api.example.com/v1/hooks": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`, `Post "#": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`},
		{"tls: failed to verify certificate: certificate is valid for foo.example.com, not bar.example.com", "tls: failed to verify certificate: certificate is valid for #, not #"},
		{"java.net.SocketTimeoutException: Read timed out", "java.net.SocketTimeoutException: Read timed out"},
		{"at com.example.pay.Client.send(Client.java:217)", "at com.example.pay.Client.send(#)"},
		{"goroutine 17 [running]: main.(*Client).Send(0xc000123456)", "goroutine # [running]: main.(*Client).Send(#)"},
		{"order 6f1c2a7e-9b7d-4a52-8d2b-0f3e5c1a9d11 not found", "order # not found"},
		{"commit deadbeefcafebabe is gone", "commit # is gone"},
		{"the facade decade", "the facade decade"},
		{"no such user: jane.doe+test@example.co.uk", "no such user: #"},
		{"failed at 2024-05-01T12:30:45.123+02:00.", "failed at #."},
		{"failed at 2024-05-01 12:30:45,123 UTC", "failed at # #,# UTC"},
		{"invoice 'INV-2024-0001' rejected", "invoice '#' rejected"},
		{`violates unique constraint "users_email_key"`, `violates unique constraint "users_email_key"`},
		{"The 'To' number +15005550001 is not a valid phone number.", "The 'To' number # is not a valid phone number."},
		{"took 1.5 s of 150ms", "took # s of #"},
		{"$12.50 exceeds the limit of 10 €", "$# exceeds the limit of # €"},
		{"résumé nötig", "résumé nötig"},
		{"bad\xff\xfebytes, 12 of them", "bad\xff\xfebytes, # of them"},
	} {
		if got := plain(c.message); got != c.want {
			t.Errorf("plain(%q)\n got %q\nwant %q", c.message, got, c.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	of := func(change func(f *policy.Failure)) Fingerprint {
		rec := AttemptRecord{Attempt: 1, Failure: policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500, Code: "20429", Message: "order 7 failed"}}
		if change != nil {
			change(&rec.Failure)
		}
		return fingerprintOf(&rec)
	}
	one := of(nil)
	for name, change := range map[string]func(f *policy.Failure){
		"another number":           func(f *policy.Failure) { f.Message = "order 12345 failed" },
		"another time":             func(f *policy.Failure) { f.TimeMS = 5 },
		"another Retry-After":      func(f *policy.Failure) { f.RetryAfterHeader, f.RetryAfter = "120", 120 },
		"said to be for good, too": func(f *policy.Failure) { f.Permanent = true },
	} {
		if got := of(change); got != one {
			t.Errorf("%s: %s, want %s", name, got, one)
		}
	}
	seen := map[Fingerprint]string{one: "the first"}
	for name, change := range map[string]func(f *policy.Failure){
		"another status":  func(f *policy.Failure) { f.HTTPStatus = 503 },
		"another code":    func(f *policy.Failure) { f.Code = "20430" },
		"another message": func(f *policy.Failure) { f.Message = "order 7 refused" },
		"no message":      func(f *policy.Failure) { f.Message = "" },
		"another cause":   func(f *policy.Failure) { f.Cause, f.HTTPStatus = policy.CauseTimeout, 0 },
		"a connection": func(f *policy.Failure) {
			*f = policy.Failure{Cause: policy.CauseConnection, ConnectionKind: policy.ConnectionDNS}
		},
		"another connection": func(f *policy.Failure) {
			*f = policy.Failure{Cause: policy.CauseConnection, ConnectionKind: policy.ConnectionTLS}
		},
		"a gRPC code":      func(f *policy.Failure) { *f = policy.Failure{Cause: policy.CauseGRPC, GRPCCode: 14} },
		"an outcome":       func(f *policy.Failure) { *f = policy.Failure{Cause: policy.CauseOutcome, Outcome: "busy"} },
		"code and message": func(f *policy.Failure) { f.Code, f.Message = "", "20429order 7 failed" },
	} {
		got := of(change)
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[got] = name
	}
	if got := fingerprintOf(nil); got != 0 {
		t.Errorf("without a failure: %s", got)
	}
}

// Fingerprints are stored: the same failure must have the same for ever.
func TestFingerprintIsStable(t *testing.T) {
	t.Parallel()
	rec := AttemptRecord{Failure: policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500, Code: "20429", Message: "order 7 failed"}}
	const want = "0e2b81b140796eae"
	if got := fingerprintOf(&rec).String(); got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
}

func TestParseFingerprint(t *testing.T) {
	t.Parallel()
	for _, f := range []Fingerprint{0, 1, 1<<64 - 1} {
		if got, ok := ParseFingerprint(f.String()); !ok || got != f {
			t.Errorf("ParseFingerprint(%q) is %s, %t", f, got, ok)
		}
	}
	for _, s := range []string{"", "1", "000000000000000g", "00000000000000FF", "+000000000000001", "00000000000000001"} {
		if _, ok := ParseFingerprint(s); ok {
			t.Errorf("%q was taken for a fingerprint", s)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("dial tcp 10.0.0.7:443: connect: connection refused")
	f.Add("bad\xff\xfebytes 12.")
	f.Fuzz(func(t *testing.T, message string) {
		once := plain(message)
		for i := range len(once) {
			if '0' <= once[i] && once[i] <= '9' {
				t.Fatalf("plain(%q) is %q, which has a digit", message, once)
			}
		}
		if twice := plain(once); twice != once {
			t.Errorf("plain(%q) is %q, and of that %q", message, once, twice)
		}
	})
}
