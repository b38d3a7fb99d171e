package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/internal/docstest"
)

// The reference of the command line is what the commands say of themselves;
// make cli-docs writes it.
func TestReferenceIsWhatTheCommandsSay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(docstest.Root(t), "docs", "cli.md")
	got := reference(newRootCommand(cli.System("")))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/cli.md is not what the commands say of themselves: run make cli-docs")
	}
}

const referenceHead = `<!-- Written by make cli-docs from the commands themselves; do not edit. -->
# The command line

One binary has all commands: those that run the service, and those that call one. How to do what
with them is told in [the guide](cli-guide.md); this page has every command with every flag, as
--help shows them too. The flags of a server stand in [running.md](running.md).

- [Settings of all commands that call a server](#settings)
- [Exit codes](#exit-codes)
`

const settingsHead = `
## Settings

Every command that calls a server takes these flags. Each can also be given in the environment, and,
by its name without the dashes, in the client's file; a flag wins over the environment, and that over
the file.

`

const clientFileHelp = `
The client's file is YAML; keys that it does not know are refused. It may have contexts, each with
settings of its own, which win over those that stand beside them. A context is chosen by --context,
RETRYD_CONTEXT, or the key context of the file:

` + "```yaml settings" + `
context: staging
timeout: 10s
contexts:
  staging: {address: "retryd.staging.example.com:7600", namespace: shop}
  prod: {address: "retryd.example.com:7600", namespace: shop, token-file: /run/secrets/retryd}
` + "```" + `

Results are printed for people by default: as tables, with times as seen from now, and colours on a
terminal unless NO_COLOR is set. For scripts there are JSON and YAML, with absolute times: JSON has
the names of the API's JSON, YAML those of its protos, such as ` + "`next_attempt_time`" + `. Lists are lists
also when they are empty. Policies and jobs are printed as YAML in the form of the files that their apply commands read.
What goes beside a result, questions and errors go to standard error.
`

func reference(root *cobra.Command) string {
	root.InitDefaultCompletionCmd("completion")
	var b strings.Builder
	b.WriteString(referenceHead)
	var walk func(cmd *cobra.Command, visit func(*cobra.Command))
	walk = func(cmd *cobra.Command, visit func(*cobra.Command)) {
		for _, sub := range cmd.Commands() {
			// The help of the shells' own commands is written for those who ask for it.
			if sub.Name() == "help" || cmd.Name() == "completion" {
				continue
			}
			visit(sub)
			walk(sub, visit)
		}
	}
	walk(root, func(cmd *cobra.Command) {
		indent := strings.Repeat("  ", strings.Count(cmd.CommandPath(), " ")-1)
		fmt.Fprintf(&b, "%s- [%s](#%s): %s\n", indent, cmd.CommandPath(), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), cmd.Short)
	})

	b.WriteString(settingsHead)
	b.WriteString("| flag | variable | |\n|---|---|---|\n")
	status, _, err := root.Find([]string{"status"})
	if err != nil {
		return err.Error()
	}
	status.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !cli.IsSetting(f.Name) {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		usage := f.Usage
		if f.DefValue != "" {
			usage += "; by default " + f.DefValue
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, envName(f.Name), usage)
	})
	b.WriteString(clientFileHelp)

	b.WriteString("\n## Exit codes\n\n| code | |\n|---|---|\n")
	for _, c := range cli.ExitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Meaning)
	}
	walk(root, func(cmd *cobra.Command) { writeCommand(&b, cmd) })
	return b.String()
}

func writeCommand(b *strings.Builder, cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	fmt.Fprintf(b, "\n## %s\n\n```text\n%s\n```\n\n```text\n%s\n```\n", cmd.CommandPath(), cmd.UseLine(), strings.TrimSpace(about))
	if cmd.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n```text\n%s\n```\n", strings.ReplaceAll(strings.TrimSpace(cmd.Example), "\n  ", "\n"))
	}
	if cmd.Name() == "completion" {
		b.WriteString("\nEach shell has a command below it whose --help says how to have it loaded.\n")
		return
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	settings := false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "help":
		case cli.IsCall(top(cmd)) && cli.IsSetting(f.Name):
			settings = true
		default:
			own.AddFlag(f)
		}
	})
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { settings = settings || cli.IsSetting(f.Name) })
	if own.HasFlags() {
		fmt.Fprintf(b, "\n```text\n%s```\n", own.FlagUsages())
	}
	if settings && cmd.HasParent() && !cmd.HasSubCommands() {
		b.WriteString("\nIt takes the [settings](#settings) too.\n")
	}
}

// top is the command below the root that a command belongs to.
func top(cmd *cobra.Command) *cobra.Command {
	for cmd.Parent() != nil && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	return cmd
}
