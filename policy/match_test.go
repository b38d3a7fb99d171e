package policy_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	kind := func(k policy.ConnectionKind) policy.Failure {
		return policy.Failure{Cause: policy.CauseConnection, ConnectionKind: k}
	}
	grpc := func(code int) policy.Failure {
		return policy.Failure{Cause: policy.CauseGRPC, GRPCCode: code}
	}
	coded := func(code string) policy.Failure {
		return policy.Failure{Cause: policy.CauseTimeout, Code: code}
	}
	said := func(outcome string) policy.Failure {
		return policy.Failure{Cause: policy.CauseOutcome, Outcome: outcome}
	}
	withCode := func(f policy.Failure, code string) policy.Failure {
		f.Code = code
		return f
	}
	timeout := policy.Failure{Cause: policy.CauseTimeout}
	type fs = []policy.Failure
	tests := []struct {
		name    string
		match   policy.Match
		yes, no fs
	}{
		{
			"nothing listed",
			policy.Match{},
			nil,
			fs{status(500), kind(policy.ConnectionDNS), grpc(14), coded("x"), said("x"), timeout, {}},
		},
		{"a status", policy.Match{Statuses: []string{"429"}}, fs{status(429)}, fs{status(428), status(430), grpc(4), timeout}},
		{
			"the first and last status",
			policy.Match{Statuses: []string{"100", "599"}},
			fs{status(100), status(599)},
			fs{status(101), status(598), status(99), status(600), status(0), status(-1)},
		},
		{"a class", policy.Match{Statuses: []string{"5xx"}}, fs{status(500), status(599)}, fs{status(499), status(600)}},
		{"a class in any case", policy.Match{Statuses: []string{"1Xx", "4XX"}}, fs{status(100), status(199), status(404)}, fs{status(200), status(399)}},
		{"except a status", policy.Match{Statuses: []string{"5xx"}, StatusesExcept: []string{"501"}}, fs{status(500), status(502)}, fs{status(501)}},
		{"except a class", policy.Match{Statuses: []string{"404", "500"}, StatusesExcept: []string{"4XX"}}, fs{status(500)}, fs{status(404)}},
		{"except alone", policy.Match{StatusesExcept: []string{"501"}}, nil, fs{status(500), status(501)}},
		{
			"except subtracts from its own list only",
			policy.Match{Statuses: []string{"5xx"}, StatusesExcept: []string{"503"}, Codes: []string{"x"}},
			fs{withCode(status(503), "x")},
			fs{status(503)},
		},
		{"a timeout", policy.Match{Timeout: true}, fs{timeout}, fs{status(408), grpc(4), kind(policy.ConnectionOther)}},
		{
			"any connection failure",
			policy.Match{ConnectionError: true},
			fs{kind(policy.ConnectionDNS), kind(policy.ConnectionOther), kind(policy.ConnectionTLS), kind(0), kind(200)},
			fs{timeout, status(500)},
		},
		{
			"kinds",
			policy.Match{ConnectionKinds: []policy.ConnectionKind{policy.ConnectionDNS, policy.ConnectionReset}},
			fs{kind(policy.ConnectionDNS), kind(policy.ConnectionReset)},
			fs{kind(policy.ConnectionRefused), kind(0), kind(200)},
		},
		{"all kinds", policy.Match{ConnectionKinds: []policy.ConnectionKind{1, 2, 3, 4, 5, 6}}, fs{kind(policy.ConnectionOther)}, fs{kind(0), kind(7)}},
		{
			"gRPC codes",
			policy.Match{GRPCCodes: []string{"CANCELLED", "UNAVAILABLE", "UNAUTHENTICATED"}},
			fs{grpc(1), grpc(14), grpc(16)},
			fs{grpc(0), grpc(2), grpc(13), grpc(15), grpc(17), grpc(-1), status(14)},
		},
		{"a code", policy.Match{Codes: []string{"20429"}}, fs{coded("20429"), withCode(status(200), "20429")}, fs{coded("2042"), coded("204290"), coded("020429"), timeout}},
		{"codes know case", policy.Match{Codes: []string{"Sms/*", "Ab"}}, fs{coded("Sms/1"), coded("Ab")}, fs{coded("sms/1"), coded("ab")}},
		{
			"a range",
			policy.Match{Codes: []string{"30003-30007"}},
			fs{coded("30003"), coded("30005"), coded("30007")},
			fs{coded("30002"), coded("30008"), coded("30003-30007"), coded("30005a"), coded("-30005"), coded(" 30005"), coded("99999999999999999999")},
		},
		{"a range of one", policy.Match{Codes: []string{"7-7"}}, fs{coded("7"), coded("007")}, fs{coded("8")}},
		{"a hyphen in a code", policy.Match{Codes: []string{"E-42", "1-2-3", "-5", "5-"}}, fs{coded("E-42"), coded("1-2-3"), coded("-5"), coded("5-")}, fs{coded("E"), coded("2")}},
		{"a prefix", policy.Match{Codes: []string{"sms/*"}}, fs{coded("sms/"), coded("sms/1")}, fs{coded("sms"), coded("xsms/1")}},
		{"any code", policy.Match{Codes: []string{"*"}}, fs{coded("x")}, fs{timeout}},
		{
			"codes except",
			policy.Match{Codes: []string{"30000-39999", "x*"}, CodesExcept: []string{"30007", "35000-35999", "xy*"}},
			fs{coded("30006"), coded("36000"), coded("x")},
			fs{coded("30007"), coded("35123"), coded("xyz")},
		},
		{"outcomes", policy.Match{Outcomes: []string{"busy", "no_answer"}}, fs{said("busy"), said("no_answer")}, fs{said("Busy"), said("bus"), said(""), coded("busy")}},
		{
			"alternatives",
			policy.Match{Statuses: []string{"500"}, Timeout: true, Outcomes: []string{"busy"}, GRPCCodes: []string{"ABORTED"}},
			fs{status(500), timeout, said("busy"), grpc(10)},
			fs{status(501), said("x"), grpc(11), kind(1)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := retrying(3, fixed(time.Second))
			p.DefaultAction = policy.ActionDeadLetter
			p.Rules = []policy.Rule{{Name: "r", Match: tt.match, Action: policy.ActionRetry}}
			c := compile(t, p)
			for _, f := range tt.yes {
				if policy.Decide(c, failed(1), f, noonMS).Action != policy.ActionRetry {
					t.Errorf("does not match %+v", f)
				}
			}
			for _, f := range tt.no {
				if policy.Decide(c, failed(1), f, noonMS).Action == policy.ActionRetry {
					t.Errorf("matches %+v", f)
				}
			}
		})
	}
}

func TestMatchGRPCCodes(t *testing.T) {
	t.Parallel()
	names := []string{
		"CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED",
	}
	for i, name := range names {
		p := retrying(3, fixed(time.Second))
		p.DefaultAction = policy.ActionDeadLetter
		p.Rules = []policy.Rule{{Match: policy.Match{GRPCCodes: []string{name}}, Action: policy.ActionRetry}}
		c := compile(t, p)
		for code := 1; code <= 16; code++ {
			d := policy.Decide(c, failed(1), policy.Failure{Cause: policy.CauseGRPC, GRPCCode: code}, noonMS)
			if (d.Action == policy.ActionRetry) != (code == i+1) {
				t.Errorf("%s and code %d: %v", name, code, d.Action)
			}
		}
	}
}
