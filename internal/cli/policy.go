package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newPolicyCommand(e *Env) *cobra.Command {
	return group("policy", "See, change and preview retry policies", "",
		newPolicyListCommand(e),
		newPolicyGetCommand(e),
	)
}

func newPolicyListCommand(e *Env) *cobra.Command {
	var filter string
	var limit *int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies of a namespace",
		Args:  takes(),
		RunE: e.run(func(ctx context.Context, s *session, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			policies, more, err := take(c.AllPolicies(ctx, &retryv1.ListPoliciesRequest{Filter: filter, PageSize: pageSize(*limit)}), *limit)
			if err != nil {
				return err
			}
			if err := showAll(s, policies, func() error {
				t := newTable("id", "name", "retries#", "schedule", "changed")
				for _, p := range policies {
					t.add(text(p.GetId()), text(p.GetDisplayName()), retriesOf(p), text(scheduleOf(p)), text(s.when(p.GetUpdateTime())))
				}
				return s.table(t, "there are no such policies")
			}); err != nil {
				return err
			}
			return s.noteMore(more, *limit)
		}),
	}
	cmd.Flags().StringVar(&filter, "filter", "", "a part of the display name, in upper or lower case")
	limit = addLimitFlag(cmd, 0)
	return cmd
}

func newPolicyGetCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "get ID",
		Short: "Show one policy",
		Args:  takes("ID"),
		RunE: e.run(func(ctx context.Context, s *session, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			resp, err := c.Policies().GetPolicy(ctx, &retryv1.GetPolicyRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return s.show(resp.GetPolicy(), func() error { return s.policyFacts(resp.GetPolicy()) })
		}),
	}
}

func (s *session) policyFacts(p *retryv1.Policy) error {
	f := new(facts)
	f.add("ID", styled(bold, p.GetId()))
	f.add("Name", text(p.GetDisplayName()))
	f.add("Revision", number(p.GetRevision()))
	f.add("Retries", retriesOf(p))
	f.add("Schedule", text(scheduleOf(p)))
	f.add("Created", text(s.whenBoth(p.GetCreateTime())))
	f.add("Changed", text(s.whenBoth(p.GetUpdateTime())))
	if p.GetDeleteTime() != nil {
		f.add("Deleted", styled(warning, s.whenBoth(p.GetDeleteTime())))
	}
	return s.facts(f)
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
