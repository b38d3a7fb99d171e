package respproxy

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFramesAreReadWhole(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"simple":       "+OK\r\n",
		"error":        "-ERR no\r\n",
		"number":       ":-5\r\n",
		"bulk":         "$5\r\na\r\nbc\r\n",
		"empty bulk":   "$0\r\n\r\n",
		"nothing":      "$-1\r\n",
		"no list":      "*-1\r\n",
		"list":         "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
		"map":          "%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n",
		"null":         "_\r\n",
		"big number":   "(12345678901234567890\r\n",
		"bulk error":   "!3\r\nERR\r\n",
		"verbatim":     "=5\r\ntxt:a\r\n",
		"push":         ">2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
		"attribute":    "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
		"a long line":  "+" + strings.Repeat("x", 100_000) + "\r\n",
		"a long value": "$100000\r\n" + strings.Repeat("y", 100_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(strings.NewReader(text + "+next\r\n"))
			f, err := readFrame(r)
			if err != nil || string(f.raw) != text {
				t.Fatalf("read %.40q, error %v, want %.40q", f.raw, err, text)
			}
			if next, err := readFrame(r); err != nil || string(next.raw) != "+next\r\n" {
				t.Errorf("then %.40q, error %v", next.raw, err)
			}
		})
	}
}

func TestWhatIsNoRESPIsSaidToBe(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"kind":  "?1\r\n",
		"size":  "$x\r\n",
		"minus": "*-2\r\n",
		"huge":  "$999999999999\r\n",
		"empty": "\r\n",
		"deep":  strings.Repeat("*1\r\n", 100),
	} {
		if _, err := readFrame(bufio.NewReader(strings.NewReader(text))); !errors.Is(err, errFrame) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := readFrame(bufio.NewReader(strings.NewReader("$5\r\nab"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("torn: error %v", err)
	}
}

func TestCommandsAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Command{
		"*1\r\n$4\r\nping\r\n":                            {Name: "PING"},
		"*3\r\n$7\r\nEvalSha\r\n$3\r\nabc\r\n$1\r\n0\r\n": {Name: "EVALSHA", Arg: "abc"},
		"get a\r\n": {Name: "GET", Arg: "a"},
		"\r\n":      {},
		"*0\r\n":    {},
	} {
		f, got, err := readCommand(bufio.NewReader(strings.NewReader(text)))
		if err != nil || got != want || string(f.raw) != text {
			t.Errorf("%q is read as %+v, error %v", text, got, err)
		}
	}
}

// FuzzFrames wants readers of outside bytes to end, whatever they are.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+k\r\n_\r\n"))
	f.Add([]byte("|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, err := readFrame(bufio.NewReader(strings.NewReader(string(data))))
		if err == nil && !strings.HasPrefix(string(data), string(fr.raw)) {
			t.Errorf("read %q of %q", fr.raw, data)
		}
		c, _, err := readCommand(bufio.NewReader(strings.NewReader(string(data))))
		if err == nil && !strings.HasPrefix(string(data), string(c.raw)) {
			t.Errorf("read %q of %q as a command", c.raw, data)
		}
	})
}
