package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, or print one to begin with",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newConfigCheckCommand(), newConfigExampleCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the settings with which serve would start, and print them",
		Long: `Reads flags, environment and configuration file as serve does, with all the files that
they name, and prints every setting and where it comes from, without passwords. Whatever is
wrong is told as serve would tell it. It neither listens nor reaches out to Redis.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cfg.from.locate(checkConfig(cmd, &cfg)) },
	}
	cfg.addFlags(cmd.Flags())
	cfg.from.bind(cmd)
	return cmd
}

func checkConfig(cmd *cobra.Command, cfg *serveConfig) error {
	store, _, err := cfg.prepare(newWatch(cfg.config, io.Discard))
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	var errs []error
	inOrder(cmd.Flags(), func(f *pflag.Flag) {
		text, err := settingLine(f.Name, currentValue(f))
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  # %s\n", text, cfg.from.placeOf(f))
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// placeOf says where a flag's value comes from.
func (s *sources) placeOf(f *pflag.Flag) string {
	if place, ok := s.places[f.Name]; ok {
		return strings.TrimSuffix(place, ": "+f.Name)
	}
	if f.Changed {
		return "--" + f.Name
	}
	return "default"
}

func newConfigExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a configuration file of serve with every setting at its default",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return writeExample(cmd.OutOrStdout()) },
	}
}

const exampleHead = `# All settings of "retryd serve", each at its default. Keep those that you change:
#
#   retryd config check --config retryd.yaml
#   retryd serve --config retryd.yaml
#
# The keys are the names of the flags. A flag (--log-level) wins over its variable
# (RETRYD_LOG_LEVEL), and that over this file. Paths are looked for from where the
# server is started. Printed by: retryd config example
`

func writeExample(w io.Writer) error {
	_, err := io.WriteString(w, exampleHead)
	inOrder(flagsOfServe(), func(f *pflag.Flag) {
		if err != nil {
			return
		}
		var text string
		if text, err = settingLine(f.Name, currentValue(f)); err == nil {
			_, err = fmt.Fprintf(w, "\n%s%s\n", comment(f.Usage), text)
		}
	})
	return err
}

// flagsOfServe are the flags of serve, at their defaults.
func flagsOfServe() *pflag.FlagSet {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	new(serveConfig).addFlags(flags)
	return flags
}

// inOrder visits the settings in the order in which they were defined, which is by
// subject.
func inOrder(flags *pflag.FlagSet, visit func(f *pflag.Flag)) {
	flags.SortFlags = false
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			visit(f)
		}
	})
}

// currentValue is a flag's value as a configuration file would give it, without
// passwords.
func currentValue(f *pflag.Flag) any {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	text := f.Value.String()
	switch f.Value.Type() {
	case "bool", "int", "float64":
		return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	case "duration":
		return shortDuration(text)
	}
	return password.ReplaceAllStringFunc(text, func(found string) string {
		parts := password.FindStringSubmatch(found)
		if parts[1] != "" {
			return parts[1] + hidden + "@"
		}
		return parts[2] + hidden
	})
}

// password finds the passwords of a URL: its user's, and those in its query.
var password = regexp.MustCompile(`(://[^/@:]*:)[^/]*@|([?&][a-z_]*password=)[^&]*`)

// hidden stands for a password.
const hidden = "xxxxx"

// shortDuration writes 10m for Go's 10m0s.
func shortDuration(text string) string {
	for _, zero := range []struct{ unit, part string }{{"m", "0s"}, {"h", "0m"}} {
		if rest, ok := strings.CutSuffix(text, zero.unit+zero.part); ok {
			text = rest + zero.unit
		}
	}
	return text
}

func settingLine(name string, value any) (string, error) {
	if value == "" {
		return name + `: ""`, nil
	}
	text, err := yaml.Dump(value, yaml.WithFlowSimpleCollections(true))
	return name + ": " + strings.TrimSuffix(string(text), "\n"), err
}

// comment writes a flag's help as sentences.
func comment(usage string) string {
	const width = 85
	first, size := utf8.DecodeRuneInString(usage)
	var b strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(string(unicode.ToUpper(first)) + usage[size:] + ".") {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
