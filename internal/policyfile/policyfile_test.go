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
	got, err := policyfile.Parse([]byte(all))
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
		{"empty", "", "the file is empty"},
		{"not YAML", "policies: [", "not YAML"},
		{"no list", "policies: webhook", "line 1: policies is a list"},
		{"another key", "policy:\n  id: a", "line 1: a policy file has one key"},
		{"two keys", "policies: []\nmore: 1", "line 1: a policy file has one key"},
		{"two documents", "policies: []\n---\npolicies: []", "more than one YAML document"},
		{"not a mapping", "policies:\n  - webhook", "line 2: Policy is written as key: value pairs"},
		{"unknown field", "policies:\n  - id: a\n    delay: 5s", `line 3: Policy has no field "delay"; it has id, display_name`},
		{"unknown field below", "policies:\n  - id: a\n    fixed: {dely: 5s}", `line 3: FixedDelay has no field "dely"; it has delay`},
		{"given twice", "policies:\n  - id: a\n    id: b", "line 3"},
		{"given twice in two spellings", "policies:\n  - id: a\n    max_retries: 1\n    maxRetries: 2", "line 4: maxRetries is given twice"},
		{"same id twice", "policies:\n  - id: a\n  - id: a", `line 3: policy "a" stands on line 2 already`},
		{"bad enum", "policies:\n  - default_action: TRY", `line 2: "TRY" is none of RETRY, DEAD_LETTER, HOLD`},
		{"bad duration", "policies:\n  - fixed: {delay: soon}", `line 2: "soon" is no duration`},
		{"bad days", "policies:\n  - fixed: {delay: 1.5d}", `line 2: "1.5d" is no duration`},
		{"bad number", "policies:\n  - max_retries: many", "line 2: not a policy"},
		{"a list for a value", "policies:\n  - max_retries: [1]", "line 2: max_retries takes a single value"},
		{"a value for a list", "policies:\n  - rules: 5", "line 2: rules is a list"},
		{"nothing for text", "policies:\n  - id:", "line 2: text is wanted here"},
		{"a list in itself", "policies: &a [*a]", "line 1: the alias *a is part of what it stands for"},
		{"a policy in itself", "policies:\n- &a\n  rules: [*a]", "line 3: the alias *a is part of what it stands for"},
		{"a list in itself, deep down", "policies:\n- rules: &a\n  - match: {codes: [*a]}", "line 3: the alias *a is part of what it stands for"},
		{"aliases of aliases", doubled(30), "aliases stand for more than 1000000 nodes"},
		{"two schedules", "policies:\n  - fixed: {delay: 1s}\n    delays: {delays: [1s]}", "line 2: not a policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := policyfile.Parse([]byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
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
	got, err := policyfile.Parse([]byte(`policies:
- id: a
  max_elapsed: &long 2d
  rules: &rules [{name: busy, match: {timeout: true}}]
- {id: b, max_elapsed: *long, rules: *rules}
- {id: c, rules: *rules}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[1].GetMaxElapsed().AsDuration() != 48*time.Hour || !proto.Equal(got[0].GetRules()[0], got[2].GetRules()[0]) {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(all))
	f.Add([]byte("policies: &a [*a]"))
	f.Add([]byte("policies:\n- &a\n  rules: [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, err := policyfile.Parse(data)
		if err != nil && policies != nil {
			t.Errorf("policies beside the error %v", err)
		}
	})
}
