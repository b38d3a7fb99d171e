package cli_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/scheduler"
)

func TestReport(t *testing.T) {
	payload := file(t, "payload.json", `{"order": 1}`)
	large := file(t, "large", strings.Repeat("x", 131_073))
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 1)
		r.run("report", "order-1", "--queue=hooks", "--policy=quick", "--http=503", "--payload-file", payload, "--attribute=a=b,c=d", "--within=1h").
			wants(0).says("attempt 2 in 5s")
		r.run("task", "get", "order-1").wants(0).says(`{"order": 1}`, "a=b", "c=d", "2000-01-01T01:00:00.000Z (in 1h)")
		r.run("report", "order-1", "--http=503").wants(0).golden("report-duplicate")
		r.pass(5 * time.Second)
		r.run("report", "order-1", "--grpc=unavailable", "--code=E7", "--message=no\x1b[31m luck", "--attempt=2").wants(0).golden("report-dead")
		r.run("report", "order-1", "--grpc=5", "--attempt=3").wants(6).says("WRONG_STATE")
		r.run("report", "order-2", "--policy=quick", "--outcome=busy", "--permanent", "-o", "json").wants(0).golden("report-json")
		r.run("report", "order-3", "--success").wants(0).golden("report-success")
		r.input = "from standard input"
		r.run("report", "order-4", "--policy=quick", "--connection=dns", "--payload-file=-").wants(0)
		r.run("task", "get", "order-4").wants(0).says("from standard input", "connection dns")

		for _, c := range []struct{ args, says string }{
			{"order-9", "say how the attempt failed: --http"},
			{"order-9 --http=600", `invalid argument "600" for "--http" flag: it must be a status from 100 to 599`},
			{"order-9 --grpc=OK", `it must be a status code other than OK`},
			{"order-9 --connection=away", "DNS, REFUSED, RESET, TLS, UNREACHABLE, OTHER"},
			{"order-9 --code=7 --timed-out", "it adds to the failure that stands before it"},
			{"order-9 --timed-out --retry-after=120", "it must be a duration, such as 2m"},
			{"order-9 --http=500 --http=501", "2 failures are given"},
			{"order-9 --http=500 --success", "--success and a failure are both given"},
			{"order-9 --http=500 --policy=quick --payload-file=" + large, "it holds more than 128 KiB"},
			{"order-9 --http=500 --payload=x --payload-file=" + payload, "--payload and --payload-file are both given"},
			{"order-9 --http=500 --within=-1s", `--within is "-1s": it must be more than 0s`},
			{"order-9 --http=500 --attempt=-1", `--attempt is "-1": it must be 1 or more`},
			{"order-9 --http=500 --policy=QUICK --group=", "task.policy: "},
			{"a b", "takes one TASK"},
		} {
			r.run(append([]string{"report"}, strings.Fields(c.args)...)...).wants(2).says(c.says)
		}
		r.run("report", "order-9", "--http=500", "--policy=nix").wants(3).says("POLICY_NOT_FOUND", "retryd policy list")
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.policy("quick", 5*time.Second, 1)
		r.run("status").wants(0).golden("status-empty")
		for _, id := range []string{"a", "b", "c"} {
			r.run("report", id, "--queue=hooks", "--policy=quick", "--http=503").wants(0)
			r.run("report", "dead-"+id, "--queue=mail", "--policy=quick", "--http=503", "--permanent").wants(0)
			r.run("report", "ok-"+id, "--queue=mail", "--success").wants(0)
		}
		r.pass(time.Minute)
		r.run("status").wants(1).golden("status")
		r.run("status", "-o", "json").wants(1).golden("status-json")
		r.run("status", "-n", "shop").wants(0).says("shop, 0 queues")
		r.pass(5 * time.Minute)
		r.run("status").wants(1).golden("status-overdue")
		r.run("queue", "pause", "hooks").wants(0)
		if out := r.run("status").wants(1).out; strings.Contains(out, "attempts due") {
			t.Errorf("a paused queue is told to be overdue:\n%s", out)
		}
		if err := r.sched.SetQuotas(scheduler.Quotas{Default: scheduler.Quota{scheduler.QuotaPendingTasks: 3, scheduler.QuotaStreams: 5}}); err != nil {
			t.Fatal(err)
		}
		r.run("status").wants(1).golden("status-quotas")
		r.run("status", "-o", "yaml").wants(1).says("quotas:", "quota: pending_tasks", "used: 3")
		r.onCall = func(method string) error {
			if strings.Contains(method, "QueueService") {
				return status.Error(codes.PermissionDenied, "not yours")
			}
			return nil
		}
		r.run("status").wants(1).says("the queues cannot be seen", "not yours", "default, its queues cannot be seen")
		r.run("status", "-o", "json").wants(1).says(`"queues": null`)
		r.run("status", "-o", "yaml").wants(1).says("queues: null")
	})
}

func TestNobodyAnswers(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.away = true
		r.run("status", "--timeout=2s").wants(5).golden("status-away")
	})
}
