package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checkTimeout is how long one check may take.
const checkTimeout = 5 * time.Minute

// name is what the check is called in the table.
func (c *check) name() string {
	if c.fault != "" {
		return "the fault " + c.fault
	}
	dir := strings.TrimPrefix(c.test[0], "./")
	if i := slices.Index(c.test, "-run"); i >= 0 && i+1 < len(c.test) {
		return strings.Trim(c.test[i+1], "^$") + " of " + dir
	}
	return "the tests of " + dir
}

// row is what came of one check of one bug.
type row struct {
	bug   *bug
	check *check
	// found is the line by which the check has told of the bug; empty when the bug
	// was not caught.
	found string
	took  time.Duration
}

// bench is where bugs are planted and checked.
type bench struct {
	// root is that of the tree, patches where the patches are, dir a temporary
	// directory.
	root, patches, dir string
	// faults is the fault program, once it is built, without any bug.
	faults string
	// sound are the checks, by their names, that have passed without a bug.
	sound map[string]bool
}

// runAll plants every bug and runs its checks.
func (b *bench) runAll(ctx context.Context, bugs []*bug, progress io.Writer) ([]row, error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(progress, format+"\n", args...) }
	var rows []row
	for _, one := range bugs {
		p, err := one.plant(ctx, b.root, b.patches, filepath.Join(b.dir, one.name))
		if err != nil {
			return nil, err
		}
		for i := range one.checks {
			c := &one.checks[i]
			if err := b.withoutBug(ctx, c); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				// The others may still show something.
				say("%s: %v", one.name, err)
				rows = append(rows, row{bug: one, check: c})
				continue
			}
			r := row{bug: one, check: c}
			out, err := b.execute(ctx, c, p.overlay, filepath.Join(b.dir, one.name))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
			if r.took = out.took.Round(time.Second); out.failed {
				r.found = lineWith(out.text, c.finds)
			}
			rows = append(rows, r)
			if r.found == "" {
				say("%s: NOT CAUGHT by %s in %s; it should have found %q and says:\n%s", one.name, c.name(), r.took, c.finds, tail(out.text))
				continue
			}
			say("%s: caught by %s in %s: %s", one.name, c.name(), r.took, cell(r.found))
		}
	}
	return rows, nil
}

// withoutBug runs a check on what is there, once: what fails without the bug shows
// nothing by failing with it.
func (b *bench) withoutBug(ctx context.Context, c *check) error {
	if b.sound[c.name()] {
		return nil
	}
	out, err := b.execute(ctx, c, "", filepath.Join(b.dir, "sound"))
	if err != nil {
		return err
	}
	if out.failed {
		return fmt.Errorf("%s fails without any bug:\n%s", c.name(), tail(out.text))
	}
	b.sound[c.name()] = true
	return nil
}

// lineWith is the first line of a text that has another in it, empty when none has.
func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// outcome is how a check went.
type outcome struct {
	failed bool
	text   string
	took   time.Duration
}

// execute builds what a check needs in dir, with the overlay unless that is empty, and
// runs it.
func (b *bench) execute(ctx context.Context, c *check, overlay, dir string) (*outcome, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("%s takes longer than %s", c.name(), checkTimeout))
	defer cancel()
	var cmd *exec.Cmd
	if c.fault == "" {
		path := filepath.Join(dir, "check.test")
		if err := b.goBuild(ctx, overlay, "test", "-c", "-o", path, c.test[0]); err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, path, testFlags(c.test[1:])...)
		// Tests find their testdata from where they are.
		cmd.Dir = filepath.Join(b.root, c.test[0])
	} else {
		retryd := filepath.Join(dir, "retryd")
		if err := b.goBuild(ctx, overlay, "build", "-buildvcs=false", "-o", retryd, "./cmd/retryd"); err != nil {
			return nil, err
		}
		if err := b.buildFaults(ctx); err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, b.faults, "-short", "-only", c.fault, "-seed", "1", "-out", filepath.Join(dir, "out"), "-retryd", retryd)
	}
	began := time.Now()
	text, err := cmd.CombinedOutput()
	out := &outcome{failed: err != nil, text: string(text), took: time.Since(began)}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited() || ctx.Err() != nil) {
		return nil, fmt.Errorf("%s: %w: %w\n%s", c.name(), err, context.Cause(ctx), tail(out.text))
	}
	if strings.Contains(out.text, "no tests to run") {
		return nil, fmt.Errorf("there is no %s", c.name())
	}
	return out, nil
}

// testFlags are go test's flags as the test itself takes them.
func testFlags(flags []string) []string {
	out := []string{"-test.timeout=4m"}
	for _, f := range flags {
		switch f {
		case "-run", "-count", "-short", "-v":
			f = "-test." + f[1:]
		}
		out = append(out, f)
	}
	return out
}

// goBuild runs a command of go that builds, with an overlay unless that is empty.
func (b *bench) goBuild(ctx context.Context, overlay, command string, args ...string) error {
	if overlay != "" {
		args = append([]string{"-overlay", overlay}, args...)
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{command}, args...)...)
	cmd.Dir = b.root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %s: %w\n%s", command, strings.Join(args, " "), err, text)
	}
	return nil
}

// buildFaults builds the fault program when it is first needed.
func (b *bench) buildFaults(ctx context.Context) error {
	if b.faults != "" {
		return nil
	}
	path := filepath.Join(b.dir, "fault-program")
	if err := b.goBuild(ctx, "", "build", "-buildvcs=false", "-o", path, "./internal/faults"); err != nil {
		return err
	}
	b.faults = path
	return nil
}

// tail is the end of an output, which says how it went.
func tail(text string) string { return text[max(0, len(text)-4000):] }
