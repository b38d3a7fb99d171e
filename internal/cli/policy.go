package cli

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newPolicyCommand(e *Env) *cobra.Command {
	return group("policy", "See, change and preview retry policies", "",
		newPolicyListCommand(e),
		newPolicyGetCommand(e),
		newPolicyApplyCommand(e),
		newPolicyDeleteCommand(e),
		newPolicyUndeleteCommand(e),
		newPolicyPreviewCommand(e),
	)
}

func newPolicyListCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies of a namespace",
		Long: `Lists the policies of a namespace by id, without those that are deleted. With -o yaml they are
printed in the form of the files that "policy apply" reads.`,
		Example: `  retryd policy list
  retryd policy list --filter webhook -o wide
  retryd policy list -o yaml > policies.yaml`,
		Args: takes(),
	}
	filter := addNameFlag(cmd)
	return lists(e, cmd, 0, func(ctx context.Context, c *client.Client, size int32) iter.Seq2[*retryv1.Policy, error] {
		return c.AllPolicies(ctx, &retryv1.ListPoliciesRequest{Filter: *filter, PageSize: size})
	}, asFile[*retryv1.Policy]("policies"), policiesTable)
}

func policiesTable(s *session, policies []*retryv1.Policy) error {
	t := newTable("id", "name", "retries#", "schedule", "changed", "revision#+")
	for _, p := range policies {
		t.add(text(p.GetId()), text(p.GetDisplayName()), retriesOf(p), text(scheduleOf(p)), text(s.when(p.GetUpdateTime())), number(p.GetRevision()))
	}
	return s.table(t, "no policies")
}

func newPolicyGetCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "get ID",
		Short: "Show one policy",
		Long: `Shows one policy, also one that is deleted. With -o yaml it is printed in the form of the files
that "policy apply" reads.`,
		Example: `  retryd policy get webhook
  retryd policy get webhook -o yaml > webhook.yaml`,
		Args: takes("ID"),
		RunE: e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
			resp, err := c.Policies().GetPolicy(ctx, &retryv1.GetPolicyRequest{Id: args[0]})
			if err != nil {
				return err
			}
			p := resp.GetPolicy()
			if s.format == formatYAML {
				return showFile(s, "policies", []*retryv1.Policy{p}, nil)
			}
			return s.show(p, func() error { return s.policyPage(p) })
		}),
	}
}

// policyPage prints all of a policy that is not a default.
func (s *session) policyPage(p *retryv1.Policy) error {
	f := new(facts)
	f.add("ID", styled(bold, p.GetId()))
	f.add("Name", text(p.GetDisplayName()))
	f.add("Revision", number(p.GetRevision()))
	f.add("Retries", retriesOf(p))
	f.add("Schedule", text(scheduleOf(p)))
	if d := p.GetMaxElapsed().AsDuration(); d > 0 {
		f.add("At most for", text(span(d)))
	}
	f.add("Retry-After", text(retryAfterOf(p.GetRetryAfter())))
	f.add("Otherwise", text(enumName(p.GetDefaultAction(), "ACTION_")))
	f.add("Remembered for", text(span(p.GetRetention().AsDuration())+" after its end, as a dead letter "+span(p.GetDeadLetterRetention().AsDuration())))
	for _, w := range p.GetPauseWindows() {
		f.add("Pause", text(s.windowOf(w)))
	}
	f.add("Created", text(s.whenBoth(p.GetCreateTime())))
	f.add("Changed", text(s.whenBoth(p.GetUpdateTime())))
	f.add("Deleted", styled(warning, s.whenBoth(p.GetDeleteTime())))
	if err := s.facts(f); err != nil || len(p.GetRules()) == 0 {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	t := newTable("rule", "failures", "action", "factor#", "retries#")
	for _, r := range p.GetRules() {
		action, factor, retries := enumName(r.GetAction(), "ACTION_"), "", ""
		if r.GetHoldCondition() != "" {
			action += " for " + r.GetHoldCondition()
		}
		if m := r.GetDelayMultiplier(); m != 0 && m != 1 {
			factor = fmt.Sprintf("x%g", m)
		}
		if n := r.GetMaxRetries(); n > 0 {
			retries = fmt.Sprint(n)
		}
		t.add(text(orElse(r.GetName(), "-")), text(matchOf(r.GetMatch())), text(action), text(factor), text(retries))
	}
	return s.table(t, "")
}

func retryAfterOf(r *retryv1.RetryAfter) string {
	most := ", at most " + span(r.GetCap().AsDuration())
	switch r.GetMode() {
	case retryv1.RetryAfter_MODE_IGNORE:
		return "ignored"
	case retryv1.RetryAfter_MODE_OVERRIDE:
		return "wins over the schedule" + most
	default:
		return "the later of it and the schedule" + most
	}
}

// windowOf tells a pause window.
func (s *session) windowOf(w *retryv1.PauseWindow) string {
	var out string
	if w.GetStartTime() != nil {
		out = absolute(w.GetStartTime().AsTime()) + " to " + absolute(w.GetEndTime().AsTime())
	} else {
		var days []string
		for _, d := range w.GetDays() {
			name := strings.ToLower(enumName(d, "DAY_OF_WEEK_"))
			days = append(days, capital(name[:min(3, len(name))]))
		}
		out = fmt.Sprintf("%s %s to %s, %s", orElse(strings.Join(days, " "), "daily"), w.GetStart(), w.GetEnd(), orElse(w.GetTimeZone(), "in the task's time zone"))
	}
	if d := w.GetSpread().AsDuration(); d > 0 {
		out += ", then spread over " + span(d)
	}
	return out
}

// matchOf tells the failures that a rule is for.
func matchOf(m *retryv1.Match) string {
	var out []string
	list := func(name string, values, except []string) {
		if len(values) == 0 {
			return
		}
		entry := name + " " + strings.Join(values, " ")
		if len(except) > 0 {
			entry += " but " + strings.Join(except, " ")
		}
		out = append(out, entry)
	}
	list("HTTP", m.GetStatuses(), m.GetStatusesExcept())
	if m.GetTimeout() {
		out = append(out, "timeout")
	}
	if m.GetConnectionError() {
		out = append(out, "connection")
	}
	var kinds []string
	for _, k := range m.GetConnectionKinds() {
		kinds = append(kinds, strings.ToLower(enumName(k, "KIND_")))
	}
	list("connection", kinds, nil)
	list("gRPC", m.GetGrpcCodes(), nil)
	list("code", m.GetCodes(), m.GetCodesExcept())
	list("outcome", m.GetOutcomes(), nil)
	return orElse(strings.Join(out, ", "), "none")
}

// retriesOf is how many retries a policy gives.
func retriesOf(p *retryv1.Policy) cell {
	n := int(p.GetMaxRetries())
	if n == 0 {
		n = max(len(p.GetDelays().GetDelays()), len(p.GetDates().GetTimes()))
	}
	return number(n)
}

// scheduleOf tells a policy's schedule and jitter in short.
func scheduleOf(p *retryv1.Policy) string {
	var out string
	switch {
	case p.GetFixed() != nil:
		out = "every " + span(p.GetFixed().GetDelay().AsDuration())
	case p.GetExponential() != nil:
		x := p.GetExponential()
		multiplier := x.GetMultiplier()
		if multiplier == 0 {
			multiplier = 2
		}
		out = fmt.Sprintf("%s, x%g", span(x.GetInitialDelay().AsDuration()), multiplier)
		if most := x.GetMaxDelay().AsDuration(); most > 0 {
			out += ", at most " + span(most)
		}
	case p.GetDelays() != nil:
		var delays []string
		for i, d := range p.GetDelays().GetDelays() {
			if i == 4 {
				delays = append(delays, "...")
				break
			}
			delays = append(delays, span(d.AsDuration()))
		}
		out = strings.Join(delays, ", ")
	case p.GetDates() != nil:
		out = fmt.Sprintf("%d dates", len(p.GetDates().GetTimes()))
	default:
		return "none"
	}
	switch j := p.GetJitter(); {
	case j.GetProportional() > 0:
		out += fmt.Sprintf(", +-%g%%", 100*j.GetProportional())
	case j.GetFull():
		out += ", full jitter"
	case j.GetEqual():
		out += ", equal jitter"
	case j.GetDecorrelated():
		out += ", decorrelated jitter"
	}
	return out
}
