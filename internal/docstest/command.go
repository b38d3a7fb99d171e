package docstest

import (
	"fmt"
	"strings"
)

// Command is one command of a block.
type Command struct {
	// Env are the variables set before it, as NAME=value.
	Env []string
	// Args are its words, its name first.
	Args []string
}

// String returns the command in short, for messages.
func (c Command) String() string { return strings.Join(c.Args, " ") }

// Commands splits a block into commands, as a shell does. What a shell would do
// beyond quotes and continued lines, it refuses: documentation needs no more.
func Commands(block string) ([]Command, error) {
	var out []Command
	var cmd Command
	var word strings.Builder
	inWord := false
	endWord := func() {
		if !inWord {
			return
		}
		if name, _, ok := strings.Cut(word.String(), "="); ok && len(cmd.Args) == 0 && strings.ToUpper(name) == name {
			cmd.Env = append(cmd.Env, word.String())
		} else {
			cmd.Args = append(cmd.Args, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(cmd.Args) > 0 {
			out = append(out, cmd)
		}
		cmd = Command{}
	}
	for i := 0; i < len(block); i++ {
		switch ch := block[i]; ch {
		case '\n':
			endCommand()
		case ' ', '\t':
			endWord()
		case '\\':
			if strings.HasPrefix(block[i:], "\\\n") {
				endWord()
				i++
				continue
			}
			return nil, fmt.Errorf("a backslash that ends no line: %q", rest(block, i))
		case '\'', '"':
			length := strings.IndexByte(block[i+1:], ch)
			if length < 0 {
				return nil, fmt.Errorf("a quote without an end: %q", rest(block, i))
			}
			quoted := block[i+1 : i+1+length]
			if ch == '"' && strings.ContainsAny(quoted, "$`\\") {
				return nil, fmt.Errorf("double quotes around what a shell would expand: %q", quoted)
			}
			word.WriteString(quoted)
			inWord = true
			i += length + 1
		case '#':
			if inWord {
				word.WriteByte(ch)
				continue
			}
			if end := strings.IndexByte(block[i:], '\n'); end >= 0 {
				i += end - 1
			} else {
				i = len(block)
			}
		case '|', '&', ';', '<', '>', '$', '`', '*', '?', '(', ')', '{', '}', '~':
			return nil, fmt.Errorf("%q is the shell's: put it into quotes, or do without: %q", ch, rest(block, i))
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	endCommand()
	return out, nil
}

func rest(s string, from int) string { return s[from:min(len(s), from+40)] }
