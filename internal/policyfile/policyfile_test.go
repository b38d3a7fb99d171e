package policyfile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
)

const all = `
# Everything that a policy can say, in the ways people write it.
policies:
  - id: all
    display_name: All of it
    maxRetries: 5
    exponential: {initial_delay: 30s, multiplier: 1.5, max_delay: 1h30m}
    jitter: {proportional: 0.2}
    max_elapsed: 2d
    default_action: DEAD_LETTER
    rules:
      - name: busy
        match:
          statuses: [429, 5xx, "503"]
          statuses_except: [501]
          timeout: true
          connection_kinds: [DNS, KIND_TLS]
          grpc_codes: [UNAVAILABLE]
          codes: [007, 30003-30007, sms/*]
        action: ACTION_RETRY
        delay_multiplier: 2
        max_retries: 2
    retry_after: {mode: OVERRIDE, cap: 250ms}
    pause_windows:
      - {days: [MONDAY, DAY_OF_WEEK_FRIDAY], start: 12:00, end: "24:00", time_zone: Europe/Berlin, spread: 0.5s}
      - {start_time: 2026-12-24T00:00:00Z, end_time: "2026-12-27T00:00:00Z"}
  - {"id": "json", "display_name": "JSON is YAML", "delays": {"delays": ["0s", "1.5s", "5m"]}, "default_action": "RETRY"}
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := policyfile.Parse("all.yaml", []byte(all), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"id": "all", "displayName": "All of it", "maxRetries": 5,
		"exponential": {"initialDelay": "30s", "multiplier": 1.5, "maxDelay": "5400s"}, "jitter": {"proportional": 0.2},
		"maxElapsed": "172800s", "defaultAction": "ACTION_DEAD_LETTER",
		"rules": [{"name": "busy", "match": {"statuses": ["429", "5xx", "503"], "statusesExcept": ["501"], "timeout": true,
			"connectionKinds": ["KIND_DNS", "KIND_TLS"], "grpcCodes": ["UNAVAILABLE"], "codes": ["007", "30003-30007", "sms/*"]},
			"action": "ACTION_RETRY", "delayMultiplier": 2, "maxRetries": 2}],
		"retryAfter": {"mode": "MODE_OVERRIDE", "cap": "0.25s"},
		"pauseWindows": [{"days": ["DAY_OF_WEEK_MONDAY", "DAY_OF_WEEK_FRIDAY"], "start": "12:00", "end": "24:00", "timeZone": "Europe/Berlin", "spread": "0.5s"},
			{"startTime": "2026-12-24T00:00:00Z", "endTime": "2026-12-27T00:00:00Z"}]}`,
		`{"id": "json", "displayName": "JSON is YAML", "delays": {"delays": ["0s", "1.5s", "300s"]}, "defaultAction": "ACTION_RETRY"}`,
	}
	if len(got) != len(want) {
		t.Fatalf("%d policies, want %d", len(got), len(want))
	}
	for i := range want {
		p := new(retryv1.Policy)
		if err := protojson.Unmarshal([]byte(want[i]), p); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got[i], p) {
			t.Errorf("policy %d:\n got %v\nwant %v", i, got[i], p)
		}
	}
}

func TestParseNamesTheLineAtFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "f.yaml: the file is empty"},
		{"not YAML", "policies: [", "f.yaml: not YAML"},
		{"no list", "policies: webhook", `f.yaml:1: policies is "webhook"; allowed: a list`},
		{"another key", "policy:\n  id: a", `f.yaml:1: "policy" is not known; a policy file has one key`},
		{"no key", "{}", "f.yaml:1: policies is missing"},
		{"a list alone", "- id: a", "f.yaml:1: a policy file has one key"},
		{"two keys", "policies: []\nmore: 1", `f.yaml:2: "more" is not known`},
		{"the key twice", "policies: []\npolicies: []", "f.yaml:2: policies is given twice"},
		{"two documents", "policies: []\n---\npolicies: []", "f.yaml: the file holds more than one YAML document"},
		{"not a mapping", "policies:\n  - webhook", `f.yaml:2: policies[0] is "webhook"; allowed: key: value pairs`},
		{"unknown field", "policies:\n  - id: a\n    delay: 5s", `f.yaml:3: policy "a": delay is no field of Policy; it has id, display_name`},
		{"unknown field below", "policies:\n  - id: a\n    fixed: {dely: 5s}", `f.yaml:3: policy "a": fixed.dely is no field of FixedDelay; it has delay`},
		{"given twice", "policies:\n  - id: a\n    id: b", `f.yaml:3: policy "a": id is given twice`},
		{"given twice in two spellings", "policies:\n  - id: a\n    max_retries: 1\n    maxRetries: 2", `f.yaml:4: policy "a": max_retries is given twice`},
		{"same id twice", "policies:\n  - id: a\n  - id: a", `f.yaml:3: policy "a" stands on line 2 already`},
		{"bad enum", "policies:\n  - default_action: TRY", `f.yaml:2: policies[0]: default_action is "TRY"; allowed: RETRY, DEAD_LETTER, HOLD`},
		{"bad duration", "policies:\n  - fixed: {delay: soon}", `f.yaml:2: policies[0]: fixed.delay is "soon"; allowed: a duration such as 30s`},
		{"bad days", "policies:\n  - fixed: {delay: 1.5d}", `fixed.delay is "1.5d"; allowed: a duration`},
		{"a duration of too many seconds", "policies:\n  - fixed: {delay: 1e30s}", `fixed.delay is "1e30s"; allowed: a duration`},
		{"a list for a duration", "policies:\n  - fixed: {delay: [1s]}", "fixed.delay is a list; allowed: a duration"},
		{"no duration", "policies:\n  - fixed: {delay: }", "fixed.delay is empty; allowed: a duration"},
		{"bad time", "policies:\n  - dates: {times: [2026-01-31T12:00:00Z, tomorrow]}", `dates.times[1] is "tomorrow"; allowed: a time such as 2026`},
		{"bad number", "policies:\n  - max_retries: many", `f.yaml:2: policies[0]: max_retries is "many"; allowed: a whole number from -2147483648 to 2147483647`},
		{"a number too large", "policies:\n  - max_retries: 3000000000", `max_retries is "3000000000"; allowed: a whole number`},
		{"a broken number", "policies:\n  - max_retries: 1.5", `max_retries is "1.5"; allowed: a whole number`},
		{"no number at all", "policies:\n  - exponential: {multiplier: .inf}", `exponential.multiplier is ".inf"; allowed: a number`},
		{"not yes or no", "policies:\n  - rules: [{match: {timeout: maybe}}]", `rules[0].match.timeout is "maybe"; allowed: true or false`},
		{"a list for a value", "policies:\n  - max_retries: [1]", "f.yaml:2: policies[0]: max_retries is a list; allowed: a whole number"},
		{"a value for a list", "policies:\n  - rules: 5", `f.yaml:2: policies[0]: rules is "5"; allowed: a list`},
		{"nothing for text", "policies:\n  - id:", "f.yaml:2: policies[0]: id is empty; allowed: text"},
		{"a list in itself", "policies: &a [*a]", "f.yaml:1: the alias *a is part of what it stands for"},
		{"a policy in itself", "policies:\n- &a\n  rules: [*a]", "f.yaml:3: the alias *a is part of what it stands for"},
		{"a list in itself, deep down", "policies:\n- rules: &a\n  - match: {codes: [*a]}", "f.yaml:3: the alias *a is part of what it stands for"},
		{"aliases of aliases", doubled(30), "aliases stand for more than 1000000 nodes"},
		{"two schedules", "policies:\n  - id: a\n    fixed: {delay: 1s}\n    rules: []\n    exponential: {initial_delay: 1s}", `f.yaml:5: policy "a": exponential stands beside fixed of line 3; allowed: one of fixed, exponential, delays, dates`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := policyfile.Parse("f.yaml", []byte(c.file), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one, with %q in it", err, c.want)
			}
		})
	}
}

// check wants every policy to have a schedule, and rules to have names.
func check(p *retryv1.Policy) []policy.Violation {
	var out []policy.Violation
	if p.GetSchedule() == nil {
		out = append(out, policy.Violation{Field: "schedule", Description: "is missing"})
	}
	for i, r := range p.GetRules() {
		if r.GetName() == "" {
			out = append(out, policy.Violation{Field: fmt.Sprintf("rules[%d].name", i), Description: "is empty"})
		}
	}
	return out
}

// What a policy means is told of those that can be read, beside what keeps others from
// being read.
func TestParseTellsAllMistakesInTheirOrder(t *testing.T) {
	t.Parallel()
	got, err := policyfile.Parse("f.yaml", []byte(`policies:
  - id: a
    colour: red
    max_retries: many
    rules: [{match: {statuses: 5, timeout: perhaps}, weight: 2}]
  - id: b
    max_retries: 2
    rules:
      - name: busy
      - action: RETRY
  - plain
  - id: c
    fixed: {delay: 1s}
  - id: a
    delays: {delays: [1s, later]}
    fixed: {delay: 1s}
more: 1
`), check)
	want := []string{
		`f.yaml:3: policy "a": colour is no field of Policy; it has `,
		`f.yaml:4: policy "a": max_retries is "many"; allowed: a whole number`,
		`f.yaml:5: policy "a": rules[0].match.statuses is "5"; allowed: a list`,
		`f.yaml:5: policy "a": rules[0].match.timeout is "perhaps"; allowed: true or false`,
		`f.yaml:5: policy "a": rules[0].weight is no field of Rule; it has `,
		`f.yaml:6: policy "b": schedule is missing`,
		`f.yaml:10: policy "b": rules[1].name is empty`,
		`f.yaml:11: policies[2] is "plain"; allowed: key: value pairs`,
		`f.yaml:14: policy "a" stands on line 2 already`,
		`f.yaml:15: policy "a": delays.delays[1] is "later"; allowed: a duration`,
		`f.yaml:16: policy "a": fixed stands beside delays of line 15; allowed: one of fixed, `,
		`f.yaml:17: "more" is not known`,
	}
	if err == nil || got != nil {
		t.Fatalf("%v and the error %v", got, err)
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d is unwanted: %s", i+1, line)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d mistakes, want %d", len(lines), len(want))
	}
}

func TestParseTellsNoMoreThanAnybodyReads(t *testing.T) {
	t.Parallel()
	_, err := policyfile.Parse("f.yaml", []byte("policies:\n"+strings.Repeat("- {id: a, colour: red}\n", 500)), check)
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "f.yaml: and 979 more") {
		t.Errorf("error %v", err)
	}
}

func TestJobsOfAFile(t *testing.T) {
	t.Parallel()
	_, err := policyfile.ParseJobs("j.yaml", []byte("jobs:\n- id: a\n  environments:\n    test: {policy: [b]}\n    live: 5\n    test: {}\n"), nil)
	const want = `j.yaml:4: job "a": environments.test.policy is a list; allowed: text
j.yaml:5: job "a": environments.live is "5"; allowed: key: value pairs
j.yaml:6: job "a": environments.test is given twice`
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

// doubled is a file in which each policy's rule has what the one before it has
// twice.
func doubled(times int) string {
	var b strings.Builder
	b.WriteString("policies:\n- &a0 {rules: []}\n")
	for i := range times {
		fmt.Fprintf(&b, "- &a%d {rules: [*a%d, *a%d]}\n", i+1, i, i)
	}
	return b.String()
}

func TestParseFollowsAliases(t *testing.T) {
	t.Parallel()
	got, err := policyfile.Parse("a.yaml", []byte(`policies:
- id: a
  max_elapsed: &long 2d
  rules: &rules [{name: busy, match: {timeout: true}}]
- {id: b, max_elapsed: *long, rules: *rules}
- {id: c, rules: *rules}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[1].GetMaxElapsed().AsDuration() != 48*time.Hour || !proto.Equal(got[0].GetRules()[0], got[2].GetRules()[0]) {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(all))
	f.Add([]byte("policies: [{max_retries: many, fixed: {delay: x}, delays: {delays: [1s, y]}, colour: red}, {rules: [{}]}]\nmore: 1"))
	f.Add([]byte("policies: &a [*a]"))
	f.Add([]byte("policies:\n- &a\n  rules: [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, err := policyfile.Parse("f.yaml", data, check)
		if err != nil && policies != nil {
			t.Errorf("policies beside the error %v", err)
		}
	})
}
