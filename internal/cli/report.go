package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// report is a report of one attempt as flags tell it.
type report struct {
	failures    failureFlags
	spec        *retryv1.TaskSpec
	attempt     int32
	lease, key  string
	success     bool
	payload     string
	payloadFile string
	attributes  map[string]string
	deadline    timeFlag
	within      time.Duration
}

func newReportCommand(e *Env) *cobra.Command {
	r := &report{spec: new(retryv1.TaskSpec)}
	cmd := &cobra.Command{
		Use:   "report [TASK]",
		Short: "Report how an attempt went, and see what was decided and why",
		Long: `Reports that an attempt of a task failed, or with --success that it went well, and prints what was
decided and why. The first report of a task needs --policy or --job; later ones need only its id.
Without an id, it is derived from --queue and --idempotency-key.`,
		Example: `  retryd report order-1 --queue hooks --policy quick --http 503
  retryd report order-2 --queue hooks --policy quick --http 429 --retry-after 120 --payload '{"order": 2}'
  retryd report order-1 --success`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one TASK, and was given %q", cmd.CommandPath(), args)
			}
			return nil
		},
		RunE: e.run(r.run),
	}
	flags := cmd.Flags()
	addConnectionFlags(flags)
	addOutputFlag(flags)
	r.failures.addTo(cmd)
	flags.BoolVar(&r.success, "success", false, "the attempt went well")
	flags.StringVar(&r.spec.Queue, "queue", "", "queue whose workers make the retries; without one, the caller asks for them")
	flags.StringVar(&r.spec.Policy, "policy", "", "id of the policy that judges the task's failures")
	flags.StringVar(&r.spec.Job, "job", "", "id of the job whose policy does, instead of --policy")
	flags.StringVar(&r.spec.Environment, "environment", "", "environment of the job")
	flags.StringVar(&r.spec.Group, "group", "", "group in whose progress the task is counted")
	flags.StringVar(&r.payload, "payload", "", "what workers need to run the task")
	flags.StringVar(&r.payloadFile, "payload-file", "", "file that holds the payload; - for standard input")
	flags.StringToStringVar(&r.attributes, "attribute", nil, "a further fact for workers, as name=value; may be repeated")
	flags.Var(&r.deadline, "deadline", "time after which no attempt is made any more, such as 2026-01-31T18:30:00Z")
	flags.DurationVar(&r.within, "within", 0, "the same as a time from now, such as 2h")
	flags.StringVar(&r.spec.TimeZone, "time-zone", "", "time zone of pause windows that name none, such as Europe/Berlin")
	flags.Int32Var(&r.attempt, "attempt", 0, "number of the attempt, from 1; makes the report safe to repeat. 0 for the one in turn")
	flags.StringVar(&r.lease, "lease-token", "", "token under which the attempt was handed out")
	flags.StringVar(&r.key, "idempotency-key", "", "key by which a repeat of the report is recognised")
	return cmd
}

func (r *report) run(ctx context.Context, s *session, args []string) error {
	task, err := r.task(s, args)
	if err != nil {
		return err
	}
	if r.success && len(r.failures.list) > 0 {
		return usagef("--success and a failure are both given: an attempt has one end")
	}
	if r.success {
		return r.succeed(ctx, s, task)
	}
	failure, err := r.failures.one()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	resp, err := c.Retry().ReportFailure(ctx, &retryv1.ReportFailureRequest{
		Task: task, Attempt: r.attempt, LeaseToken: r.lease, Failure: failure, IdempotencyKey: r.key,
	})
	if err != nil {
		return err
	}
	return s.show(resp, func() error { return s.decisionPage(resp) })
}

func (r *report) succeed(ctx context.Context, s *session, task *retryv1.TaskSpec) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	resp, err := c.Retry().ReportSuccess(ctx, &retryv1.ReportSuccessRequest{
		Task: task, Attempt: r.attempt, LeaseToken: r.lease, IdempotencyKey: r.key,
	})
	if err != nil {
		return err
	}
	return s.show(resp, func() error {
		f := new(facts)
		f.add("Task", styled(bold, resp.GetTaskId()))
		f.add("Decision", styled(good, fmt.Sprintf("succeeded at attempt %d", resp.GetAttempts())))
		f.add("Duplicate", text(duplicateWords(resp.GetDuplicate())))
		return s.facts(f)
	})
}

// decisionPage prints what was decided, and why.
func (s *session) decisionPage(resp *retryv1.ReportFailureResponse) error {
	d := resp.GetDecision()
	f := new(facts)
	f.add("Task", styled(bold, resp.GetTaskId()))
	f.add("Failed", text(fmt.Sprintf("attempt %d", d.GetAttempt())))
	decision := text(decisionWords(d))
	if d.GetAction() == retryv1.Action_ACTION_DEAD_LETTER {
		decision.style = bad
	}
	f.add("Decision", decision)
	f.add("Due", text(s.whenBoth(d.GetNextAttemptTime())))
	if d.GetAction() == retryv1.Action_ACTION_RETRY {
		f.add("Retries left", number(d.GetRetriesLeft()))
	}
	if d.GetPolicy() != "" {
		f.add("Policy", text(fmt.Sprintf("%s, revision %d", d.GetPolicy(), d.GetPolicyRevision())))
	}
	f.add("Rule", text(d.GetRule()))
	f.add("Duplicate", text(duplicateWords(resp.GetDuplicate())))
	for i, step := range d.GetExplanation() {
		name := ""
		if i == 0 {
			name = "Why"
		}
		f.add(name, text(step))
	}
	return s.facts(f)
}

func duplicateWords(duplicate bool) string {
	if !duplicate {
		return ""
	}
	return "yes: this is the first answer, and nothing has changed"
}

// task is what the flags say of it.
func (r *report) task(s *session, args []string) (*retryv1.TaskSpec, error) {
	spec := r.spec
	spec.Id = strings.Join(args, "")
	spec.Attributes = r.attributes
	var errs []error
	payload, err := r.readPayload(s)
	errs = append(errs, err)
	spec.Payload = payload
	given := s.cmd.Flags().Changed("within")
	switch {
	case given && !r.deadline.t.IsZero():
		errs = append(errs, usagef("--deadline and --within say the same: give one of them"))
	case given && r.within <= 0:
		errs = append(errs, usagef("--within is %q: it must be more than 0s", r.within))
	case given:
		spec.Deadline = timestamppb.New(s.env.Now().Add(r.within))
	case !r.deadline.t.IsZero():
		spec.Deadline = timestamppb.New(r.deadline.t)
	}
	if r.attempt < 0 {
		errs = append(errs, usagef("--attempt is \"%d\": it must be 1 or more, or 0 for the one in turn", r.attempt))
	}
	return spec, joinUsage(errs)
}

// maxPayload is the largest that the server takes. What is larger is not read.
const maxPayload = 128 << 10

func (r *report) readPayload(s *session) ([]byte, error) {
	if r.payloadFile == "" {
		return []byte(r.payload), nil
	}
	if r.payload != "" {
		return nil, usagef("--payload and --payload-file are both given: there is one payload")
	}
	in := s.env.In
	if r.payloadFile != "-" {
		file, err := os.Open(r.payloadFile)
		if err != nil {
			return nil, usagef("--payload-file is %q: %w", r.payloadFile, plainPathError(err))
		}
		defer func() { _ = file.Close() }() // it is only read
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPayload+1))
	if err == nil && len(data) > maxPayload {
		err = errors.New("it holds more than 128 KiB, which is the most that a task may carry")
	}
	if err != nil {
		return nil, usagef("--payload-file is %q: %w", r.payloadFile, plainPathError(err))
	}
	return data, nil
}
