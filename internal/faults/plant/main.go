// Plant puts known bugs into retryd, one at a time, and shows that each is caught:
// `make planted`, or
//
//	go run ./internal/faults/plant [-only NAME,NAME] [-list]
//
// A bug is a patch in internal/faults/bugs; catalog.go says by which checks it is to be
// caught. Its files are patched in copies and built by go's -overlay, so that
// nothing of it ever stands in the tree. Each check is first run without the bug, and
// has to pass; a bug counts as caught when a check fails and says what
// it is to find. The table goes to standard output, for docs/reliability.md; the status is 1
// when a bug was not caught.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are what the program was called with.
type options struct {
	only []string
	list bool
}

// errNotCaught is returned when there are bugs that no check has found.
var errNotCaught = errors.New("not every bug is caught")

// run returns the exit status: 0 when every bug was caught, 1 when not, 2 for wrong
// arguments.
func run(ctx context.Context, args []string, out, progress io.Writer) int {
	opts, err := parse(args, progress)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(progress, "plant:", err)
		}
		return 2
	}
	if err := plantAll(ctx, opts, out, progress); err != nil {
		_, _ = fmt.Fprintln(progress, "plant:", err)
		return 1
	}
	return 0
}

func parse(args []string, usage io.Writer) (*options, error) {
	opts := new(options)
	var only string
	flags := flag.NewFlagSet("plant", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&only, "only", "", "names of patches, such as no-jitter,no-token-check; empty for all")
	flags.BoolVar(&opts.list, "list", false, "only list the bugs and their checks")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if only != "" {
		opts.only = strings.Split(only, ",")
	}
	return opts, nil
}

func plantAll(ctx context.Context, opts *options, out, progress io.Writer) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	patches := filepath.Join(root, "internal", "faults", "bugs")
	bugs, err := bugsIn(patches, catalog())
	if err != nil {
		return err
	}
	if bugs, err = chosen(bugs, opts.only); err != nil {
		return err
	}
	if opts.list {
		for _, b := range bugs {
			_, _ = fmt.Fprintf(out, "%s: %s\n", b.name, b.title)
			for _, c := range b.checks {
				_, _ = fmt.Fprintf(out, "    %s, which finds %q\n", c.name(), c.finds)
			}
		}
		return nil
	}
	temp, err := os.MkdirTemp("", "plant-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	b := &bench{root: root, patches: patches, dir: temp, sound: make(map[string]bool)}
	rows, err := b.runAll(ctx, bugs, progress)
	if err != nil {
		return err
	}
	writeTable(out, rows)
	if slices.ContainsFunc(rows, func(r row) bool { return r.found == "" }) {
		return errNotCaught
	}
	return nil
}

// chosen are the bugs of these names, or all when none is given.
func chosen(all []*bug, only []string) ([]*bug, error) {
	if len(only) == 0 {
		return all, nil
	}
	var out []*bug
	for _, name := range only {
		i := slices.IndexFunc(all, func(b *bug) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only names %q: there are %s", name, names(all))
		}
		out = append(out, all[i])
	}
	return out, nil
}

func names(bugs []*bug) string {
	var out []string
	for _, b := range bugs {
		out = append(out, b.name)
	}
	return strings.Join(out, ", ")
}

// moduleRoot is where go.mod is.
func moduleRoot(ctx context.Context) (string, error) {
	path, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(path))), nil
}

// writeTable writes a row for each bug and check.
func writeTable(out io.Writer, rows []row) {
	_, _ = fmt.Fprint(out, "| bug | caught by | which finds | after |\n|---|---|---|--:|\n")
	for _, r := range rows {
		found := r.found
		if found == "" {
			found = "**nothing**"
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %s | %.0f s |\n", r.bug.title, r.check.name(), cell(found), r.took.Seconds())
	}
}

// cell is a text as it may stand in a table.
func cell(text string) string {
	const longest = 120
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
}
