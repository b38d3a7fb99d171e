package cli

import (
	"context"
	"iter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/retryd/retryd/client"
)

// lists makes a command list what the pages hold, by default up to the limit: for people
// by the table, else by show.
func lists[M proto.Message](
	e *Env, cmd *cobra.Command, limit int,
	pages func(ctx context.Context, c *client.Client, size int32) iter.Seq2[M, error],
	show func(s *session, items []M, people func() error) error,
	table func(s *session, items []M) error,
) *cobra.Command {
	most := addLimitFlag(cmd, limit)
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, _ []string) error {
		items, more, err := take(pages(ctx, c, pageSize(*most)), *most)
		if err != nil {
			return err
		}
		if err := show(s, items, func() error { return table(s, items) }); err != nil || !more {
			return err
		}
		return s.note("these are the first %d; --limit 0 shows all", *most)
	})
	return cmd
}

// addNameFlag adds --filter to a command that lists resources.
func addNameFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("filter", "", "a part of the display name, in upper or lower case")
}

// addLimitFlag adds --limit, by default 0, which is all.
func addLimitFlag(cmd *cobra.Command, limit int) *int {
	return cmd.Flags().Int("limit", limit, "how many to show at most; 0 for all")
}

// take collects what the pages hold, up to the limit, and says whether there is
// more. A limit of 0 is none.
func take[T any](all iter.Seq2[T, error], limit int) (items []T, more bool, err error) {
	if limit < 0 {
		return nil, false, usagef("--limit is \"%d\": it must be 0, for all, or more", limit)
	}
	for item, err := range all {
		if err != nil {
			return nil, false, err
		}
		if limit > 0 && len(items) == limit {
			return items, true, nil
		}
		items = append(items, item)
	}
	return items, false, nil
}

// pageSize is what to ask a page for, where so many are wanted at most.
func pageSize(limit int) int32 {
	const most = 1000
	if limit <= 0 || limit >= most {
		return most
	}
	return int32(limit + 1) //nolint:gosec // at most 1,000
}
