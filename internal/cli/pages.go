package cli

import (
	"iter"

	"github.com/spf13/cobra"
)

// addLimitFlag adds --limit, by default 0, which is all.
func addLimitFlag(cmd *cobra.Command, limit int) *int {
	return cmd.Flags().Int("limit", limit, "how many to show at most; 0 for all")
}

// take collects what the pages hold, up to the limit, and says whether there is
// more. A limit of 0 is none.
func take[T any](all iter.Seq2[*T, error], limit int) (items []*T, more bool, err error) {
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

// noteMore tells people that a list goes on.
func (s *session) noteMore(more bool, limit int) error {
	if !more {
		return nil
	}
	return s.note("these are the first %d; --limit 0 shows all", limit)
}
