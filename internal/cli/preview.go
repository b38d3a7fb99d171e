package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
)

// formatSVG draws the schedule as a picture.
const formatSVG = "svg"

func newPolicyPreviewCommand(e *Env) *cobra.Command {
	var failures failureFlags
	var file, task, zone string
	var start, deadline timeFlag
	cmd := &cobra.Command{
		Use:   "preview [ID]",
		Short: "Show when a policy would try again, as a table and as a chart",
		Long: `Shows what a policy would decide, failure by failure, without a task: for one that is kept, by its
id, or for one in a file. Failures are told by flags, in the order of the attempts; the last is
repeated until the task ends. With -o svg the schedule is written as a picture.

The times are those that a task of the id --task would get. Where a policy has jitter, the range
shows where those of other tasks may lie.`,
		Example: `  retryd policy preview webhook --http 503
  retryd policy preview webhook --http 429 --retry-after 120 --http 503
  retryd policy preview -f policies.yaml webhook --timed-out
  retryd policy preview webhook --http 503 -o svg > webhook.svg`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 && !cmd.Flags().Changed("file") {
				return usagef("%s takes one ID, or -f FILE, and was given %q", cmd.CommandPath(), args)
			}
			return nil
		},
		Annotations: map[string]string{moreFormats: formatSVG},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "file", "f", "", "YAML file of policies, or - for standard input, instead of the policy that is kept")
	flags.Var(&start, "start", "when the first attempt fails, such as 2026-01-31T18:30:00Z; now by default")
	flags.Var(&deadline, "deadline", "the task's deadline")
	flags.StringVar(&task, "task", "preview", "id of the task that the draws of jitter are made for")
	flags.StringVar(&zone, "time-zone", "", "the task's time zone, such as Europe/Berlin")
	failures.addTo(cmd)
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		if len(failures.list) == 0 {
			return usagef("say how the attempts fail: --http, --grpc, --timed-out, --connection or --outcome")
		}
		req := &retryv1.PreviewPolicyRequest{Failures: failures.list, TaskId: task, TimeZone: zone, StartTime: start.proto(), Deadline: deadline.proto()}
		id := strings.Join(args, "")
		if file == "" {
			req.Source = &retryv1.PreviewPolicyRequest_PolicyId{PolicyId: id}
		} else {
			p, err := s.policyOfFile(file, id)
			if err != nil {
				return err
			}
			req.Source, id = &retryv1.PreviewPolicyRequest_Policy{Policy: p}, p.GetId()
		}
		c, err := s.client()
		if err != nil {
			return err
		}
		resp, err := c.Policies().PreviewPolicy(ctx, req)
		if err != nil {
			return err
		}
		plan := newSchedule(id, failures.words(), resp.GetDecisions())
		if s.format == formatSVG {
			return plan.writeSVG(s.env.Out)
		}
		return s.show(resp, func() error { return s.previewPage(plan, resp.GetDecisions()) })
	})
	return cmd
}

// proto is the time as the API has it; nil where none was given.
func (f *timeFlag) proto() *timestamppb.Timestamp {
	if f.t.IsZero() {
		return nil
	}
	return timestamppb.New(f.t)
}

// policyOfFile is the policy of a file, which must be named where there are several.
func (s *session) policyOfFile(path, id string) (*retryv1.Policy, error) {
	texts, err := s.readFiles(path)
	if err != nil {
		return nil, usagef("--file is %q: %w", path, err)
	}
	var policies []*retryv1.Policy
	for _, t := range texts {
		ps, err := policyfile.Parse(t.name, t.data, nil)
		if err != nil {
			return nil, &usageError{err}
		}
		policies = append(policies, ps...)
	}
	if id == "" && len(policies) == 1 {
		return policies[0], nil
	}
	var ids []string
	for _, p := range policies {
		if p.GetId() == id && id != "" {
			return p, nil
		}
		ids = append(ids, p.GetId())
	}
	if id == "" {
		return nil, usagef("%s holds %d policies: name one of %s", path, len(policies), strings.Join(ids, ", "))
	}
	return nil, usagef("%s holds no policy %q; it holds %s", path, id, strings.Join(ids, ", "))
}

// schedule is what a policy would do, in times from the first failure on.
type schedule struct {
	policy, failures string
	// retries are the attempts after the first.
	retries []plannedRetry
	// end is the decision that ended the task, if any did.
	end *retryv1.Decision
	// length is the time to the last moment in it, which is more than 0.
	length time.Duration
}

// plannedRetry is one attempt with the reach of its draws.
type plannedRetry struct {
	attempt              int32
	at, earliest, latest time.Duration
	// after is the time since the attempt before it.
	after time.Duration
}

func newSchedule(policy, failures string, decisions []*retryv1.PreviewedDecision) *schedule {
	p := &schedule{policy: policy, failures: failures, length: time.Millisecond}
	if len(decisions) == 0 {
		return p
	}
	start := decisions[0].GetFailureTime().AsTime()
	for _, d := range decisions {
		if d.GetDecision().GetAction() != retryv1.Action_ACTION_RETRY {
			p.end = d.GetDecision()
			break
		}
		r := plannedRetry{
			attempt:  d.GetDecision().GetNextAttempt(),
			at:       d.GetDecision().GetNextAttemptTime().AsTime().Sub(start),
			earliest: d.GetEarliestTime().AsTime().Sub(start),
			latest:   d.GetLatestTime().AsTime().Sub(start),
			after:    d.GetDecision().GetDelay().AsDuration(),
		}
		p.retries = append(p.retries, r)
		p.length = max(p.length, r.latest, r.at)
	}
	return p
}

// summary tells the schedule in a line.
func (p *schedule) summary() string {
	last := time.Duration(0)
	if n := len(p.retries); n > 0 {
		last = p.retries[n-1].at
	}
	retries := "no retries"
	if n := len(p.retries); n == 1 {
		retries = "1 retry after " + span(last)
	} else if n > 1 {
		retries = fmt.Sprintf("%d retries over %s", n, span(last))
	}
	if p.end == nil {
		return retries + ", and more"
	}
	return retries + ", then " + decisionWords(p.end)
}

// previewPage prints the schedule as a table and as a chart.
func (s *session) previewPage(p *schedule, decisions []*retryv1.PreviewedDecision) error {
	t := newTable("attempt#", "at", "after#", "may be", "decision", "rule", "why+")
	for i, d := range decisions {
		decision := d.GetDecision()
		row := []cell{number(decision.GetAttempt()), text(s.planned(d.GetFailureTime(), decisions)), text(""), text("")}
		if i > 0 {
			r := p.retries[i-1]
			row[2] = text(span(r.after))
			if r.earliest != r.latest {
				row[3] = text(s.planned(decisions[i-1].GetEarliestTime(), decisions) + " to " + s.planned(decisions[i-1].GetLatestTime(), decisions))
			}
		}
		words := text(decisionWords(decision))
		if decision.GetAction() == retryv1.Action_ACTION_DEAD_LETTER {
			words.style = bad
		}
		t.add(append(row, words, text(decision.GetRule()), text(strings.Join(decision.GetExplanation(), "; ")))...)
	}
	if err := s.say("Policy %s, when attempts fail with %s: %s", p.policy, p.failures, p.summary()); err != nil {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	if err := s.table(t, ""); err != nil || len(p.retries) == 0 {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	return p.writeChart(s.env.Out, s.env.Width, s.colours())
}

// planned writes a time of a preview: from the first failure on, or as it is with -o
// wide.
func (s *session) planned(t *timestamppb.Timestamp, decisions []*retryv1.PreviewedDecision) string {
	if s.format == formatWide {
		return absolute(t.AsTime())
	}
	return "+" + span(t.AsTime().Sub(decisions[0].GetFailureTime().AsTime()))
}
