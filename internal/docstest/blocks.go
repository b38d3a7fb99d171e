package docstest

import (
	"fmt"
	"strings"
)

// Block is a fenced block of a Markdown file.
type Block struct {
	// Lang is the first word of the info string, and Info are the others.
	Lang string
	Info []string
	// Text is what stands between the fences.
	Text string
	// Line is that of the opening fence, from 1.
	Line int
}

// IsOutput reports whether the block shows what a command answers.
func (b Block) IsOutput() bool { return len(b.Info) > 0 && b.Info[0] == "output" }

// IsExample reports whether the block is of commands for the examples in other
// languages.
func (b Block) IsExample() bool { return b.Lang == "sh" && len(b.Info) > 0 && b.Info[0] == "example" }

// Source returns the path of the repository's file that the block's lines are of,
// empty where it stands for itself.
func (b Block) Source() string {
	if len(b.Info) > 0 && strings.Contains(b.Info[0], "/") {
		return b.Info[0]
	}
	return ""
}

const fence = "```"

// Blocks returns the fenced blocks of a file, and the text around them, in which
// each block's lines are empty.
func Blocks(markdown string) (blocks []Block, prose string, err error) {
	var open *Block
	var text, around strings.Builder
	for i, line := range strings.Split(markdown, "\n") {
		info, isFence := strings.CutPrefix(line, fence)
		switch {
		case !isFence && open == nil:
			around.WriteString(line)
		case !isFence:
			text.WriteString(line + "\n")
		case open == nil:
			open = &Block{Line: i + 1}
			words := strings.Fields(info)
			if len(words) == 0 {
				return nil, "", fmt.Errorf("line %d: the block says not what it is", i+1)
			}
			open.Lang, open.Info = words[0], words[1:]
		case info != "":
			return nil, "", fmt.Errorf("line %d: a block opens inside that of line %d", i+1, open.Line)
		default:
			open.Text = text.String()
			blocks = append(blocks, *open)
			open = nil
			text.Reset()
		}
		around.WriteString("\n")
	}
	if open != nil {
		return nil, "", fmt.Errorf("line %d: the block has no end", open.Line)
	}
	return blocks, around.String(), nil
}
