package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
)

// errDeclined ends a command whose question was answered with no.
var errDeclined = errors.New("nothing was done")

// addConfirmFlags adds --dry-run and --yes to a command that destroys something.
func addConfirmFlags(cmd *cobra.Command) {
	addDryRunFlag(cmd)
	cmd.Flags().BoolP("yes", "y", false, "do not ask; needed where there is no terminal to ask on")
}

// addDryRunFlag adds --dry-run to a command that moves much.
func addDryRunFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("dry-run", false, "only say what would be done")
}

// dryRun says whether the command is only to say what it would do.
func (s *session) dryRun() bool {
	on, err := s.cmd.Flags().GetBool("dry-run")
	return err == nil && on
}

// destroys makes a command destroy what it names, once the question is answered, in which
// the name stands; with --dry-run it only looks at it.
func (e *Env) destroys(
	cmd *cobra.Command, question string, look, destroy func(ctx context.Context, s *session, c *client.Client, name string) error,
) *cobra.Command {
	addConfirmFlags(cmd)
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
		if s.dryRun() {
			return look(ctx, s, c, args[0])
		}
		if err := s.confirm(ctx, fmt.Sprintf(question, args[0])); err != nil {
			return err
		}
		return destroy(ctx, s, c, args[0])
	})
	return cmd
}

// confirm asks a question before something is done that cannot be undone, such as
// "Discard 12 dead letters?". It returns nil where the answer is yes.
func (s *session) confirm(ctx context.Context, question string) error {
	if yes, err := s.cmd.Flags().GetBool("yes"); err == nil && yes {
		return nil
	}
	if !s.env.InTerminal {
		return usagef("%s There is no terminal to ask on: give --yes, or see by --dry-run what would be done", clean(question, false))
	}
	if _, err := fmt.Fprintf(s.env.Err, "%s [y/N] ", clean(question, false)); err != nil {
		return err
	}
	// Ctrl-C ends the wait for an answer, though not the read.
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.env.In).ReadString('\n') // no answer is no
		answers <- line
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case line := <-answers:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errDeclined
	}
}

// progress shows on a terminal how far something has come that takes a while.
type progress struct {
	s      *session
	verb   string
	total  int64
	begun  time.Time
	last   time.Time
	shown  bool
	redraw time.Duration
}

// progress begins one, such as of "replayed". Without a total of more than 0 none is
// shown. Whoever begins it ends it.
func (s *session) progress(verb string, total int64) *progress {
	now := s.env.Now()
	return &progress{s: s, verb: verb, total: total, begun: now, redraw: 100 * time.Millisecond}
}

// at draws how much is done.
func (p *progress) at(done int64) {
	now := p.s.env.Now()
	if !p.s.env.ErrTerminal || p.shown && now.Sub(p.last) < p.redraw {
		return
	}
	p.shown, p.last = true, now
	line := fmt.Sprintf("%s %d", p.verb, done)
	if p.total > 0 {
		line += fmt.Sprintf(" of %d", p.total)
	}
	if took := now.Sub(p.begun); took > 0 && done > 0 {
		line += fmt.Sprintf(", %.0f a second", float64(done)/took.Seconds())
	}
	// What is drawn is in nobody's way when it fails.
	_, _ = fmt.Fprintf(p.s.env.Err, "\r%s\x1b[K", line)
}

// end takes the drawing away.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprint(p.s.env.Err, "\r\x1b[K")
	}
}
