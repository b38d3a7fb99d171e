package docstest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/docstest"
)

// matchNow is when the answers of these tests were given.
var matchNow = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, printed, answered string
		values                  map[string]string
		used                    int
		fault                   string
	}{
		{name: "the same", printed: "a\nb", answered: "a\nb\n", used: 2},
		{name: "other white space", printed: "  a  b\n\n c", answered: "a\tb\nc", used: 2},
		{name: "another word", printed: "a\nb", answered: "a\nc", fault: "line 2 of the answer"},
		{name: "too short", printed: "a\nb", answered: "a", fault: "ends before"},
		{name: "more comes", printed: "a", answered: "a\nb", used: 1},
		{name: "lines left out", printed: "a\n...\nd", answered: "a\nb\nc\nd\ne", used: 4},
		{name: "lines left out, and none there", printed: "a\n...\nb", answered: "a\nb", used: 2},
		{name: "lines left out, and tried again", printed: "...\nb\nc", answered: "b\nx\nb\nc", used: 4},
		{name: "all the rest left out", printed: "a\n...", answered: "a\nb\nc", used: 3},
		{name: "lines left out, but not this", printed: "a\n...\nz", answered: "a\nb", fault: "nowhere after line 1"},

		{name: "a time of now", printed: `"time": "2020-01-01T00:00:00Z",`, answered: `"time": "2026-11-22T09:00:05.123Z",`, used: 1},
		{name: "a fixed time", printed: "at 2026-01-05T09:00:00Z", answered: "at 2026-01-05T09:00:00Z", used: 1},
		{name: "another fixed time", printed: "at 2026-01-05T09:00:01Z", answered: "at 2026-01-05T09:00:00Z", fault: "line 1"},
		{name: "a time of now among other words", printed: "at 2020-01-01T00:00:00Z, 5 s", answered: "at 2026-11-22T09:00:00Z, 6 s", fault: "line 1"},
		{name: "as seen from now", printed: "due (in 59m 59s), (now), 2s ago", answered: "due (in 1h), (12ms ago), 1m 3s ago", used: 1},
		{name: "a wait, which is not seen from now", printed: "attempt 2 in 5s", answered: "attempt 2 in 4s", fault: "line 1"},
		{name: "no time at all", printed: "at noon", answered: "at 2026-11-22T09:00:00Z", fault: "line 1"},

		{name: "how long it is", printed: `"dueIn": "4s"`, answered: `"dueIn": "3.991s"`, used: 1},
		{name: "how long it was", printed: `"sincePrevious": "4s",`, answered: `"sincePrevious": "0.012s",`, used: 1},
		{name: "another span", printed: `"oldestDueAge": "4s"`, answered: `"dueIn": "4s"`, fault: "line 1 of the answer"},
		{name: "how long it is, but not now", printed: `"delay": "4s"`, answered: `"delay": "5s"`, fault: "line 1"},

		{
			name: "tokens", printed: "\"leaseToken\": \"A\",\n\"etag\": \"1-b\"", answered: "\"leaseToken\": \"X\",\n\"etag\": \"1-y\"",
			used: 2, values: map[string]string{"A": "X", "1-b": "1-y"},
		},
		{
			name: "one token for two", printed: "\"leaseToken\": \"A\"\n\"leaseToken\": \"A\"", answered: "\"leaseToken\": \"X\"\n\"leaseToken\": \"Y\"",
			fault: "line 2",
		},
		{name: "a token where there is none", printed: `"leaseToken": "A"`, answered: `"etag": "A"`, fault: "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			values, used, err := docstest.Match(c.printed, c.answered, matchNow)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("error %v, want %q in it", err, c.fault)
				}
				return
			}
			if err != nil || used != c.used || !maps.Equal(values, c.values) {
				t.Errorf("%v, %d lines, %v; want %v, %d lines", values, used, err, c.values, c.used)
			}
		})
	}
}

func TestCommandsAreSplitAsByAShell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, block string
		want        []string
		fault       string
	}{
		{name: "one on each line", block: "make test\n\n# again\nmake  lint # now\n", want: []string{"make|test", "make|lint"}},
		{name: "quoted over lines", block: "grpcurl -d '{\n  \"a\": 1}' x\n", want: []string{"grpcurl|-d|{\n  \"a\": 1}|x"}},
		{name: "continued", block: "grpcurl -plaintext \\\n  127.0.0.1:7600", want: []string{"grpcurl|-plaintext|127.0.0.1:7600"}},
		{name: "a variable before", block: "RETRYD_LISTEN=a:1 go run x=1", want: []string{"RETRYD_LISTEN=a:1 go|run|x=1"}},
		{name: "an empty word", block: "a '' b", want: []string{"a||b"}},
		{name: "a quote without an end", block: "a 'b", fault: "without an end"},
		{name: "what a shell expands", block: `a "$b"`, fault: "a shell would expand"},
		{name: "a pipe", block: "a | b", fault: "is the shell's"},
		{name: "a stray backslash", block: `a \b`, fault: "ends no line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := docstest.Commands(c.block)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("error %v, want %q in it", err, c.fault)
				}
				return
			}
			var told []string
			for _, cmd := range got {
				told = append(told, strings.Join(append(cmd.Env, strings.Join(cmd.Args, "|")), " "))
			}
			if err != nil || !slices.Equal(told, c.want) {
				t.Errorf("%q, %v; want %q", told, err, c.want)
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	blocks, prose, err := docstest.Blocks("a\n```sh\nmake\n```\nb\n```json output x\n{}\n\n```\n")
	if err != nil || len(blocks) != 2 || prose != "a\n\n\n\nb\n\n\n\n\n\n" {
		t.Fatalf("%v, %q, %v", blocks, prose, err)
	}
	if b := blocks[0]; b.Lang != "sh" || b.Text != "make\n" || b.Line != 2 || b.IsOutput() {
		t.Errorf("the first is %+v", b)
	}
	if b := blocks[1]; b.Lang != "json" || b.Text != "{}\n\n" || b.Line != 6 || !b.IsOutput() || b.Info[1] != "x" {
		t.Errorf("the second is %+v", b)
	}
	for text, fault := range map[string]string{
		"```sh\n":               "line 1: the block has no end",
		"\n```\nx\n```\n":       "line 2: the block says not what it is",
		"```sh\n```json\n```\n": "line 2: a block opens inside that of line 1",
	} {
		if _, _, err := docstest.Blocks(text); err == nil || err.Error() != fault {
			t.Errorf("%q: error %v, want %q", text, err, fault)
		}
	}
}
