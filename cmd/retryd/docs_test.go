package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/cli"
)

var shownCommand = regexp.MustCompile("`(retryd [a-z][^`\n]*)`")

// Commands that the documentation shows in passing are those of the binary, with
// flags and arguments that they have; blocks of commands are run by another test.
func TestCommandsThatAreShownExist(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range shownCommand.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[1], "...") || strings.Contains(match[1], "|") {
				continue
			}
			checked++
			words := strings.Fields(match[1])[1:]
			root := newRootCommand(cli.System(""))
			root.InitDefaultCompletionCmd()
			cmd, rest, err := root.Find(words)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			// What is only named, as "retryd task get" and "retryd serve --listen", lacks
			// its arguments and values.
			if named := new(pflag.ValueRequiredError); errors.As(err, &named) || errors.Is(err, pflag.ErrHelp) {
				err = nil
			}
			if args := cmd.Flags().Args(); err == nil && len(args) > 0 {
				err = cmd.ValidateArgs(args)
				if !cmd.HasParent() || cmd.HasSubCommands() {
					err = errors.New("there is no such command")
				}
			}
			if err != nil {
				t.Errorf("%s: %q: %v", filepath.Base(page), match[1], err)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d commands were found", checked)
	}
}
