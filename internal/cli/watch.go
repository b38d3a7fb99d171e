package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
)

// watcher is the command that looks on, or takes attempts.
type watcher struct {
	s     *session
	limit int

	lease         bool
	exec, outcome string
	inFlight      int
	leaseDuration time.Duration
	drainTimeout  time.Duration
	workerID      string

	printer *printer
	begun   atomic.Int64
}

// The outcomes that attempts can be given without a command.
const (
	outcomeSuccess = "success"
	outcomeFail    = "fail"
	outcomeRelease = "release"
)

var outcomes = []string{outcomeSuccess, outcomeFail, outcomeRelease}

// releaseDelay keeps what is handed back from coming again at once, over and over.
const releaseDelay = time.Minute

// forLeases are the flags that only mean something with --lease.
var forLeases = []string{"exec", "outcome", "max-in-flight", "lease-duration", "drain-timeout", "worker-id"}

func newWatchCommand(e *Env) *cobra.Command {
	w := new(watcher)
	cmd := &cobra.Command{
		Use:   "watch QUEUE...",
		Short: "Show attempts as they fall due; with --lease, make them",
		Long: `Shows the attempts of queues that are due, and from then on those that fall due, a line each, or
with -o json an object on each line. It takes nothing from workers. A server that goes away, or
drains, is come back to: what fell due meanwhile is shown then, unless a worker has taken it.

With --lease it is a worker itself: it takes attempts, and settles them as told. It needs the role
worker, where operators may look on. Whoever may not watch, or may no longer, is told with exit code 4.

  --exec CMD   runs the command by sh -c for each, with the payload on its standard input. Exit
               code 0 is a success, another the failure with the outcome exit-CODE, a signal the
               one with the outcome killed. What the command prints goes to standard error. Its
               environment tells the task: TASK_ID, TASK_QUEUE, TASK_GROUP, TASK_NAMESPACE,
               TASK_ATTEMPT, TASK_DELIVERY, TASK_GENERATION, TASK_TRIGGER, TASK_DUE_TIME,
               TASK_RETRIES_LEFT, TASK_LAST_FAILURE and TASK_ATTRIBUTES, which is a JSON object;
               TRACEPARENT and TRACESTATE are set where the report had a trace.
  --outcome O  settles each without making it, to try things out: success, fail (the outcome
               "fail"), or release, which hands it back for a minute.

Ctrl-C ends it: no more is taken, and commands that run may go on for --drain-timeout. Then they are
ended, and their attempts handed back.`,
		Example: `  retryd watch hooks
  retryd watch hooks charges -o json
  retryd watch hooks --lease --outcome success --limit 1
  retryd watch hooks --lease --exec 'curl -sf -d @- https://hooks.example.com/' --max-in-flight 4`,
		Args: takes("QUEUE..."),
	}
	flags := cmd.Flags()
	addConnectionFlags(flags)
	addOutputFlag(flags)
	flags.IntVar(&w.limit, "limit", 0, "end after so many attempts; 0 goes on until Ctrl-C")
	flags.BoolVar(&w.lease, "lease", false, "take attempts and settle them, by --exec or --outcome")
	flags.StringVar(&w.exec, "exec", "", "with --lease: the command to run for each attempt")
	flags.StringVar(&w.outcome, "outcome", "", "with --lease: how to settle each attempt: success, fail or release")
	flags.IntVar(&w.inFlight, "max-in-flight", 1, "with --lease: how many attempts to make at a time, from 1 to 1000")
	flags.DurationVar(&w.leaseDuration, "lease-duration", 30*time.Second,
		"with --lease: after what time without a sign of life others get an attempt, from 1s to 12h")
	flags.DurationVar(&w.drainTimeout, "drain-timeout", 30*time.Second, "with --lease: how long commands may go on after Ctrl-C")
	flags.StringVar(&w.workerID, "worker-id", "", "with --lease: name in the history of tasks (default host, process and a random part)")
	cmd.RunE = e.run(func(ctx context.Context, s *session, queues []string) error {
		if err := w.check(cmd); err != nil {
			return err
		}
		w.s = s
		return w.watch(ctx, queues)
	})
	return cmd
}

// check tells everything that is wrong with the flags.
func (w *watcher) check(cmd *cobra.Command) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, usagef(format, args...)) }
	if w.limit < 0 {
		wrong("--limit is \"%d\": it must be 0, for no end, or more", w.limit)
	}
	given := cmd.Flags().Changed
	if !w.lease {
		for _, name := range forLeases {
			if given(name) {
				wrong("--%s is given without --lease, with which it says how attempts are made", name)
			}
		}
		return joinUsage(errs)
	}
	switch {
	case w.exec == "" && w.outcome == "":
		wrong("--lease takes attempts from their workers: say by --exec or --outcome what to do with them")
	case w.exec != "" && w.outcome != "":
		wrong("--exec and --outcome both say what to do with attempts: give one of them")
	case w.outcome != "" && !slices.Contains(outcomes, w.outcome):
		wrong("--outcome is %q: it must be one of %s", w.outcome, strings.Join(outcomes, ", "))
	}
	if w.exec != "" {
		if _, err := exec.LookPath("sh"); err != nil {
			wrong("--exec is %q: it is run by sh, and there is none here: %w", w.exec, err)
		}
	}
	if w.inFlight < 1 || w.inFlight > 1000 {
		wrong("--max-in-flight is \"%d\": it must be from 1 to 1000", w.inFlight)
	}
	if w.leaseDuration < time.Second || w.leaseDuration > 12*time.Hour {
		wrong("--lease-duration is %q: it must be from 1s to 12h", w.leaseDuration)
	}
	if w.drainTimeout < 0 {
		wrong("--drain-timeout is %q: it must be 0s or more", w.drainTimeout)
	}
	return joinUsage(errs)
}

// watch goes on until ctx ends, which is the way to end it and no error, or until
// the limit is reached.
func (w *watcher) watch(ctx context.Context, queues []string) error {
	s := w.s
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	notes := &noteHandler{s: s, stop: stop}
	c, err := s.client(client.WithLogger(slog.New(notes)), client.WithRetryTimeout(time.Minute))
	if err != nil {
		return err
	}
	w.printer = newPrinter(s, stop)
	if w.lease {
		err = w.work(ctx, c, queues, stop)
	} else {
		err = c.Observe(ctx, queues, func(a *client.Attempt) {
			n := w.begun.Add(1)
			if w.limit > 0 && n > int64(w.limit) {
				return
			}
			w.printer.put(eventOf("due", s.env.Now(), a))
			if n == int64(w.limit) {
				stop(errLimit)
			}
		})
	}
	return errors.Join(err, notes.refusal(), w.printer.close())
}

// errLimit ends the watch where --limit is reached.
var errLimit = errors.New("the limit is reached")

// work takes attempts and settles them.
func (w *watcher) work(ctx context.Context, c *client.Client, queues []string, stop context.CancelCauseFunc) error {
	options := []client.WorkerOption{
		client.WithMaxInFlight(w.inFlight), client.WithLeaseDuration(w.leaseDuration), client.WithShutdownTimeout(w.drainTimeout),
		client.WithSettled(func(r client.Settled) { w.settled(r) }),
	}
	if w.workerID != "" {
		options = append(options, client.WithWorkerID(w.workerID))
	}
	worker, err := client.NewWorker(c, queues, options...)
	if err != nil {
		return err
	}
	return worker.Run(ctx, func(ctx context.Context, a *client.Attempt) error {
		n := w.begun.Add(1)
		if w.limit > 0 && n > int64(w.limit) {
			return errNotBegun
		}
		if n == int64(w.limit) {
			stop(errLimit)
		}
		w.printer.put(eventOf("taken", w.s.env.Now(), a))
		switch w.outcome {
		case outcomeSuccess:
			return nil
		case outcomeFail:
			return client.OutcomeFailure(outcomeFail)
		case outcomeRelease:
			return client.Release(releaseDelay)
		}
		return w.execute(ctx, a)
	})
}

// errNotBegun hands back what came after the limit.
var errNotBegun = client.Release(0)

// settled prints what became of an attempt.
func (w *watcher) settled(r client.Settled) {
	if errors.Is(r.Err, errNotBegun) {
		return
	}
	ev := eventOf("", w.s.env.Now(), r.Attempt)
	ev.Payload, ev.Attributes = nil, nil
	if f := new(client.Failure); errors.As(r.Err, &f) {
		ev.Failure = f.Error()
	}
	switch {
	case r.Refused != nil:
		ev.Event, ev.Error = "refused", r.Refused.Error()
	case r.Released:
		ev.Event = "released"
	case r.Completion != nil:
		ev.Event = "succeeded"
	case r.Decision != nil:
		ev.Event, ev.Decision, ev.NextAttemptTime = "failed", r.Decision.String(), timeText(r.Decision.NextAttemptTime)
		if r.Decision.Action == client.ActionRetry {
			ev.Decision = fmt.Sprintf("attempt %d in %s", r.Decision.NextAttempt, span(r.Decision.Delay))
		}
	}
	w.printer.put(ev)
}

// deniedTwice is within what time a second denial shows that a worker has no right to
// attempts. After one it may have, since its token has expired and the next is there.
const deniedTwice = 10 * time.Second

// noteHandler shows people what the client logs, such as that it subscribes anew. A
// worker of the library would do so for ever where it is denied; here somebody waits
// to be told.
type noteHandler struct {
	s    *session
	stop context.CancelCauseFunc

	mu       sync.Mutex
	deniedAt time.Time
	refused  error
}

// refusal is why the caller may not watch; nil while it may.
func (h *noteHandler) refusal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// denied is true where that was one denial too many.
func (h *noteHandler) denied(err error) bool {
	if code := status.Code(err); code != codes.Unauthenticated && code != codes.PermissionDenied {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.s.env.Now()
	if h.deniedAt.IsZero() || now.Sub(h.deniedAt) > deniedTwice {
		h.deniedAt = now
		return false
	}
	h.refused = err
	h.stop(err)
	return true
}

// Enabled implements [slog.Handler].
func (h *noteHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements [slog.Handler].
func (h *noteHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "error":
			if err, ok := a.Value.Any().(error); ok && h.denied(err) {
				line = ""
				return false
			}
			line += ": " + statusPrefix.ReplaceAllString(a.Value.String(), "")
		case "retry_in_ms":
			line += "; again in " + span(time.Duration(a.Value.Int64())*time.Millisecond)
		default:
			line += ", " + a.Key + " " + a.Value.String()
		}
		return true
	})
	if line == "" {
		return nil
	}
	return h.s.note("%s", line)
}

// statusPrefix is what gRPC writes before the message of a status.
var statusPrefix = regexp.MustCompile(`^rpc error: code = \w+ desc = `)

// WithAttrs implements [slog.Handler]. What all records share tells people nothing.
func (h *noteHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements [slog.Handler].
func (h *noteHandler) WithGroup(string) slog.Handler { return h }
