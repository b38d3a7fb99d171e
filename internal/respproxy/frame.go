package respproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxFrame bounds one command or answer: what is longer is no RESP, or nothing that
// a test should send.
const maxFrame = 512 << 20

// errFrame is wrapped by what says how bytes are not RESP.
var errFrame = errors.New("not RESP")

// Command is what a client asked, as far as rules can choose by it.
type Command struct {
	// Name is the first word in upper case, such as "EVALSHA".
	Name string
	// Arg is the second word as it came, such as the digest of a script; empty when
	// there is none.
	Arg string
}

// frame is one value as it lay on the wire.
type frame struct {
	raw []byte
	// kind is its first byte, word the text of its first element when it is a list,
	// and text that of a simple line.
	kind byte
	word string
}

// readFrame reads one value of RESP2 or RESP3 whole, attributes before it included.
func readFrame(r *bufio.Reader) (frame, error) {
	var f frame
	for {
		start := len(f.raw)
		if err := f.append(r, 0); err != nil {
			return f, err
		}
		// An attribute says something of the value that follows.
		if f.raw[start] == '|' {
			continue
		}
		f.kind = f.raw[start]
		if f.kind == '*' || f.kind == '>' {
			f.word = firstWord(f.raw[start:])
		}
		return f, nil
	}
}

// append reads a value, and those within it, onto f.raw.
func (f *frame) append(r *bufio.Reader, depth int) error {
	const deepest = 64
	if depth > deepest {
		return fmt.Errorf("%w: lists within lists, %d deep", errFrame, depth)
	}
	line, err := f.line(r)
	if err != nil {
		return err
	}
	if len(line) == 0 {
		return fmt.Errorf("%w: an empty line", errFrame)
	}
	switch kind := line[0]; kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return nil
	case '$', '!', '=':
		n, err := size(line)
		if err != nil || n < 0 {
			return err
		}
		return f.bytes(r, n+2)
	case '*', '~', '>', '%', '|':
		n, err := size(line)
		if kind == '%' || kind == '|' {
			n *= 2
		}
		for i := 0; err == nil && i < n; i++ {
			err = f.append(r, depth+1)
		}
		return err
	default:
		return fmt.Errorf("%w: a value of the kind %q", errFrame, kind)
	}
}

// line reads one line onto f.raw and returns it without its end.
func (f *frame) line(r *bufio.Reader) ([]byte, error) {
	start := len(f.raw)
	for {
		part, err := r.ReadSlice('\n')
		f.raw = append(f.raw, part...)
		if len(f.raw) > maxFrame {
			return nil, fmt.Errorf("%w: a value over %d bytes", errFrame, maxFrame)
		}
		if err == nil {
			return bytes.TrimRight(f.raw[start:], "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

func (f *frame) bytes(r *bufio.Reader, n int) error {
	start := len(f.raw)
	if start+n > maxFrame {
		return fmt.Errorf("%w: a value over %d bytes", errFrame, maxFrame)
	}
	f.raw = append(f.raw, make([]byte, n)...)
	_, err := io.ReadFull(r, f.raw[start:])
	return err
}

// size is the number that a line gives behind its kind; -1 stands for nothing.
func size(line []byte) (int, error) {
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || n < -1 || n > maxFrame {
		return 0, fmt.Errorf("%w: the size %q", errFrame, line[1:])
	}
	return n, nil
}

// readCommand reads what a client asks: a list of words, or a line of them.
func readCommand(r *bufio.Reader) (frame, Command, error) {
	first, err := r.Peek(1)
	if err != nil {
		return frame{}, Command{}, err
	}
	var f frame
	var words []string
	if first[0] != '*' {
		line, err := f.line(r)
		if err != nil {
			return f, Command{}, err
		}
		words = strings.Fields(string(line))
	} else {
		if err := f.append(r, 0); err != nil {
			return f, Command{}, err
		}
		words = wordsOf(f.raw, 2)
	}
	var c Command
	if len(words) > 0 {
		c.Name = strings.ToUpper(words[0])
	}
	if len(words) > 1 {
		c.Arg = words[1]
	}
	return f, c, nil
}

// firstWord is the first element of a list, when it is text.
func firstWord(raw []byte) string {
	if words := wordsOf(raw, 1); len(words) > 0 {
		return words[0]
	}
	return ""
}

// wordsOf returns the first elements of a list for as long as they are text.
func wordsOf(raw []byte, most int) []string {
	_, rest, _ := bytes.Cut(raw, []byte("\r\n"))
	var words []string
	for len(words) < most && len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 || line[0] != '$' {
			break
		}
		n, err := size(line)
		if err != nil || n < 0 || n+2 > len(after) {
			break
		}
		words = append(words, string(after[:n]))
		rest = after[n+2:]
	}
	return words
}
