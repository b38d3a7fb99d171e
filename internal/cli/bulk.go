package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
)

// bulk is a run over many tasks, call by call. Nobody owns it: whoever begins anew
// finds what is left.
type bulk struct {
	// verb and done name what is done, such as "replay" and "replayed", and what each
	// task is: "dead letter".
	verb, done, what string
	// destroys says that it cannot be undone, and so is counted and asked about.
	destroys bool
	// run does it, or only counts.
	run func(ctx context.Context, c *client.Client, onlyCount bool, progress func(client.Progress)) (client.Progress, error)
}

// bulkResult is what became of a run.
type bulkResult struct {
	DryRun bool `json:"dryRun"`
	// Moved is how many tasks were moved, or would be.
	Moved int64 `json:"moved"`
	// Remaining is how many were left to be looked at when it was cut short.
	Remaining int64 `json:"remaining"`
}

func (b *bulk) do(ctx context.Context, s *session) error {
	c, err := s.patient()
	if err != nil {
		return err
	}
	if s.dryRun() {
		return b.carry(ctx, s, c)
	}
	if b.destroys {
		if yes, err := s.cmd.Flags().GetBool("yes"); err != nil || !yes {
			counted, err := b.run(ctx, c, true, nil)
			if err != nil {
				return err
			}
			if counted.Moved == 0 {
				return s.showValue(bulkResult{}, func() error { return s.say("no such %ss", b.what) })
			}
			question := fmt.Sprintf("%s %s for good?", capital(b.verb), several(counted.Moved, b.what))
			if err := s.confirm(ctx, question); err != nil {
				return err
			}
		}
	}
	return b.carry(ctx, s, c)
}

// carry makes the run, tells how it came along, and when it was cut short how to go
// on.
func (b *bulk) carry(ctx context.Context, s *session, c *client.Client) error {
	verb := b.done
	if s.dryRun() {
		verb = "counted"
	}
	shown := s.progress(verb, 0)
	got, err := b.run(ctx, c, s.dryRun(), func(p client.Progress) {
		shown.total = p.Moved + p.Remaining
		shown.at(p.Moved)
	})
	shown.end()
	if err != nil && got == (client.Progress{}) {
		return err
	}
	result := bulkResult{DryRun: s.dryRun(), Moved: got.Moved, Remaining: got.Remaining}
	told := s.showValue(result, func() error {
		if s.dryRun() {
			return s.say("%s would be %s", several(got.Moved, b.what), b.done)
		}
		return s.say("%s %s", several(got.Moved, b.what), b.done)
	})
	if told != nil || err == nil {
		return told
	}
	if !s.dryRun() {
		told = s.note("cut short; up to %d are left. Run the same command to go on: it finds only what is left, and %ss nothing twice",
			got.Remaining, b.verb)
	}
	if told != nil {
		return told
	}
	return err
}

// several tells how many there are of something.
func several[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// capital begins a sentence.
func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// rateFlag is how many attempts a second are to fall due.
type rateFlag float64

func addRateFlag(cmd *cobra.Command) *rateFlag {
	rate := new(rateFlag)
	cmd.Flags().Var(rate, "rate", "how many a second fall due, from 0.001 to 1000000; without it all at once")
	return rate
}

// String implements [pflag.Value].
func (r *rateFlag) String() string {
	if *r == 0 {
		return ""
	}
	return fmt.Sprint(float64(*r))
}

// Type implements [pflag.Value].
func (r *rateFlag) Type() string { return "number" }

// Set implements [pflag.Value].
func (r *rateFlag) Set(s string) error {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0.001 || f > 1_000_000 {
		return errors.New("it must be a number from 0.001 to 1000000")
	}
	*r = rateFlag(f)
	return nil
}
