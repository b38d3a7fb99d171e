package telemetry_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/internal/telemetry"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// TestAFloodOfRefusedReportsDoesNotFillTheDisk has reports refused as fast as can be, in
// a bubble in which no time passes but on demand.
func TestAFloodOfRefusedReportsDoesNotFillTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lines := telemetry.NewLogBuffer(&log)
		decisions := telemetry.NewDecisionLog(lines, false)
		refuse := func(kind scheduler.Kind, times int) []string {
			t.Helper()
			log.Reset()
			for range times {
				decisions.Reported(t.Context(), scheduler.ReportEvent{
					Report: &scheduler.Report{Failure: &policy.Failure{}}, Answer: &scheduler.Answer{}, Err: &scheduler.Error{Kind: kind},
				})
			}
			lines.Flush()
			return strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		}
		wants := func(lines []string, n int, reason, more string) {
			t.Helper()
			if len(lines) != n {
				t.Errorf("there are %d lines of %s, want %d", len(lines), reason, n)
			}
			if first := lines[0]; !strings.HasSuffix(first, " reason="+reason+more) {
				t.Errorf("the first line of %s is %q, want it to end with %q", reason, first, more)
			}
			for _, line := range lines[1:] {
				if !strings.HasSuffix(line, " reason="+reason) {
					t.Errorf("a line of %s is %q", reason, line)
				}
			}
		}
		wants(refuse(scheduler.KindInvalid, 1000), 20, "INVALID_REQUEST", "")
		// The others have their own.
		wants(refuse(scheduler.KindPolicyNotFound, 3), 3, "POLICY_NOT_FOUND", "")
		<-time.After(time.Second)
		wants(refuse(scheduler.KindInvalid, 1000), 5, "INVALID_REQUEST", " unlogged_before=980")
		wants(refuse(scheduler.KindPolicyNotFound, 1), 1, "POLICY_NOT_FOUND", "")
	})
}
