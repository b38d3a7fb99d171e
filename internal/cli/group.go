package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newGroupCommand(e *Env) *cobra.Command {
	return group("group", "Look at the progress of groups of tasks",
		`A group counts the tasks that name it, such as those of a campaign: each once, whatever was sent twice.`,
		newGroupGetCommand(e), newGroupDeleteCommand(e),
	)
}

func newGroupGetCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get GROUP",
		Short: "Show the progress of a group",
		Example: `  retryd group get orders
  retryd group get orders -o json`,
		Args: takes("GROUP"),
	}
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
		resp, err := c.Groups().GetGroup(ctx, &retryv1.GetGroupRequest{Group: args[0]})
		if err != nil {
			return err
		}
		return s.show(resp.GetGroup(), func() error { return groupPage(s, resp.GetGroup()) })
	})
	return cmd
}

func groupPage(s *session, g *retryv1.Group) error {
	part := func(n int64) cell {
		if g.GetTotal() == 0 {
			return number(n)
		}
		return text(fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(g.GetTotal())))
	}
	var f facts
	f.add("Group", text(g.GetGroup()))
	f.add("Total", number(g.GetTotal()))
	f.add("Completed", part(g.GetCompleted()))
	f.add("Failed", part(g.GetFailed()))
	f.add("Pending", part(g.GetPending()))
	f.add("In progress", part(g.GetInProgress()))
	return s.facts(&f)
}

func newGroupDeleteCommand(e *Env) *cobra.Command {
	return e.destroys(&cobra.Command{
		Use:   "delete GROUP",
		Short: "Forget the counts of a group",
		Long: `Forgets the counts of a group. Its tasks are left as they are; those of which something becomes
later are counted anew. A group goes by itself 90 days after its last change.`,
		Example: `  retryd group delete orders --dry-run
  retryd group delete orders --yes`,
		Args: takes("GROUP"),
	}, "Forget the counts of group %q for good?", func(ctx context.Context, s *session, c *client.Client, name string) error {
		resp, err := c.Groups().GetGroup(ctx, &retryv1.GetGroupRequest{Group: name})
		if err != nil {
			return err
		}
		return s.show(resp.GetGroup(), func() error {
			return s.say("the counts of group %s would be forgotten: %d tasks", name, resp.GetGroup().GetTotal())
		})
	}, func(ctx context.Context, s *session, c *client.Client, name string) error {
		resp, err := c.Groups().DeleteGroup(ctx, &retryv1.DeleteGroupRequest{Group: name})
		if err != nil {
			return err
		}
		return s.show(resp, func() error { return s.say("the counts of group %s are forgotten", name) })
	})
}
