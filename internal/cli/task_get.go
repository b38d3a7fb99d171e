package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// How a payload is shown.
const (
	payloadAuto   = "auto"
	payloadText   = "text"
	payloadBase64 = "base64"
	payloadNone   = "none"
)

var payloadForms = []string{payloadAuto, payloadText, payloadBase64, payloadNone}

func newTaskGetCommand(e *Env) *cobra.Command {
	var form, out string
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show a task with everything that has become of it",
		Long: `Shows a task: where it stands, when its next attempt falls due, its payload, and every attempt
with how it failed, what was decided, and why.`,
		Example: `  retryd task get order-1
  retryd task get order-1 -o json
  retryd task get order-1 --payload-out payload.bin`,
		Args: takes("ID"),
	}
	cmd.Flags().StringVar(&form, "payload", payloadAuto,
		"how to show the payload: text, base64, none, or auto, which is text where it is text")
	cmd.Flags().StringVar(&out, "payload-out", "",
		"file to write the payload to, as it is; - is standard output, and then nothing else is printed")
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		if !slices.Contains(payloadForms, form) {
			return usagef("--payload is %q: it must be one of %s", form, strings.Join(payloadForms, ", "))
		}
		c, err := s.client()
		if err != nil {
			return err
		}
		resp, err := c.Tasks().GetTask(ctx, &retryv1.GetTaskRequest{TaskId: args[0]})
		if err != nil {
			return err
		}
		task := resp.GetTask()
		switch out {
		case "":
		case "-":
			_, err := s.env.Out.Write(task.GetPayload())
			return err
		default:
			// It may hold what is nobody else's business.
			if err := os.WriteFile(out, task.GetPayload(), 0o600); err != nil {
				return fmt.Errorf("--payload-out: %w", err)
			}
			form = payloadNone
		}
		return s.show(task, func() error { return taskPage(s, task, form) })
	})
	return cmd
}

// taskPage prints all of a task.
func taskPage(s *session, task *retryv1.Task, payload string) error {
	var f facts
	f.add("Task", text(task.GetTaskId()))
	f.add("State", stateCell(task.GetState()))
	f.add("Attempt", text(attemptWords(task)))
	f.add("Due", text(s.whenBoth(task.GetNextAttemptTime())))
	f.add("Held for", text(task.GetHoldCondition()))
	f.add("Held since", text(s.whenBoth(task.GetHoldTime())))
	f.add("Died of", styled(bad, enumName(task.GetDeadReason(), "REASON_")))
	f.add("Fingerprint", text(task.GetFingerprint()))
	f.add("Ended", text(s.whenBoth(task.GetEndTime())))
	f.add("Queue", text(orElse(task.GetQueue(), "none: it is caller-driven")))
	f.add("Policy", text(task.GetPolicy()))
	f.add("Job", text(task.GetJob()))
	f.add("Environment", text(task.GetEnvironment()))
	f.add("Group", text(task.GetGroup()))
	f.add("First failure", text(s.whenBoth(task.GetFirstFailureTime())))
	f.add("Deadline", text(s.whenBoth(task.GetDeadline())))
	for _, name := range slices.Sorted(maps.Keys(task.GetAttributes())) {
		f.add("Attribute", text(name+"="+task.GetAttributes()[name]))
	}
	f.add("Payload", text(payloadWords(task.GetPayload(), payload)))
	if err := s.facts(&f); err != nil {
		return err
	}
	return history(s, task)
}

func attemptWords(task *retryv1.Task) string {
	out := fmt.Sprint(task.GetAttempt())
	if task.GetGeneration() > 1 {
		out += fmt.Sprintf(", generation %d", task.GetGeneration())
	}
	switch n := task.GetDelivery(); {
	case n == 1:
		out += ", handed out once"
	case n > 1:
		out += fmt.Sprintf(", handed out %d times", n)
	}
	return out
}

// explained is how many decisions are explained unless all are asked for.
const explained = 5

// history prints the attempts of a task, and then why it was decided so.
func history(s *session, task *retryv1.Task) error {
	if len(task.GetAttempts()) == 0 {
		return nil
	}
	t := newTable("attempt#", "at", "after", "trigger", "failure", "decision", "generation#+", "deliveries#+", "worker+")
	why := make([][]string, 0, len(task.GetAttempts()))
	last := int32(0)
	for _, a := range task.GetAttempts() {
		if n := task.GetAttemptsDropped(); n > 0 && a.GetAttempt() > last+1 {
			t.add(text("..."), text(fmt.Sprintf("%d no longer kept", n)), text(""), text(""), text(""), text(""), text(""), text(""), text(""))
		}
		last = a.GetAttempt()
		after := ""
		if d := a.GetSincePrevious(); d != nil {
			after = span(d.AsDuration())
		}
		outcome := styled(good, "succeeded")
		if a.GetFailure() != nil {
			outcome = text(failureWords(a.GetFailure()))
		}
		t.add(number(a.GetAttempt()), text(absolute(a.GetTime().AsTime())), text(after),
			text(enumName(a.GetTrigger(), "TRIGGER_")), outcome, text(decisionWords(a.GetDecision())),
			number(a.GetGeneration()), number(a.GetDeliveries()), text(a.GetWorkerId()))
		if steps := a.GetDecision().GetExplanation(); len(steps) > 0 {
			why = append(why, append([]string{fmt.Sprintf("Attempt %d:", a.GetAttempt())}, steps...))
		}
	}
	if _, err := fmt.Fprintln(s.env.Out); err != nil {
		return err
	}
	if err := s.table(t, ""); err != nil {
		return err
	}
	shown := why
	if s.format != formatWide {
		shown = why[max(0, len(why)-explained):]
	}
	for _, steps := range shown {
		if _, err := fmt.Fprintln(s.env.Out); err != nil {
			return err
		}
		for i, step := range steps {
			if i > 0 {
				step = "  " + step
			}
			if err := s.say("%s", step); err != nil {
				return err
			}
		}
	}
	if len(shown) < len(why) {
		return s.note("the last %d decisions are explained; -o wide explains all", len(shown))
	}
	return nil
}

// failureWords tells a failure on one line.
func failureWords(f *retryv1.Failure) string {
	var out string
	switch c := f.GetCause().(type) {
	case *retryv1.Failure_Http:
		out = fmt.Sprintf("HTTP %d", c.Http.GetStatus())
	case *retryv1.Failure_Grpc:
		out = "gRPC " + grpcCode(codes.Code(c.Grpc.GetCode()))
	case *retryv1.Failure_Timeout:
		out = "timeout"
	case *retryv1.Failure_Connection:
		out = "connection " + strings.ToLower(enumName(c.Connection.GetKind(), "KIND_"))
	case *retryv1.Failure_Outcome:
		out = c.Outcome
	}
	if f.GetCode() != "" {
		out += ", code " + f.GetCode()
	}
	if h := f.GetHttp().GetRetryAfter(); h != "" {
		out += ", Retry-After " + h
	}
	if d := f.GetRetryAfter().AsDuration(); d > 0 {
		out += ", retry after " + span(d)
	}
	if f.GetPermanent() {
		out += ", permanent"
	}
	if f.GetMessage() != "" {
		out += ": " + f.GetMessage()
	}
	return out
}

// grpcCode is the name of a status code as the API has it, such as UNAVAILABLE.
func grpcCode(c codes.Code) string { return code.Code(c).String() } //nolint:gosec // 0 to 16, or a number either way

// decisionWords tells a decision on one line; empty where there was none.
func decisionWords(d *retryv1.Decision) string {
	switch d.GetAction() {
	case retryv1.Action_ACTION_RETRY:
		return fmt.Sprintf("attempt %d in %s", d.GetNextAttempt(), span(d.GetDelay().AsDuration()))
	case retryv1.Action_ACTION_DEAD_LETTER:
		return "dead letter: " + enumName(d.GetReason(), "REASON_")
	case retryv1.Action_ACTION_HOLD:
		return "held for " + d.GetHoldCondition()
	default:
		return enumName(d.GetAction(), "ACTION_")
	}
}

// shownPayload is how much of a payload is shown to people.
const shownPayload = 1024

// payloadWords shows a payload on one line.
func payloadWords(payload []byte, form string) string {
	if len(payload) == 0 {
		return ""
	}
	size := fmt.Sprintf("%d bytes", len(payload))
	if form == payloadNone {
		return size
	}
	asText := form == payloadText || form == payloadAuto && isText(payload)
	more := ""
	if len(payload) > shownPayload {
		payload = payload[:shownPayload]
		for asText && len(payload) > 0 && !utf8.FullRune(payload[len(payload)-1:]) {
			payload = payload[:len(payload)-1]
		}
		more = fmt.Sprintf("... (%s; --payload-out writes all of it)", size)
	}
	if asText {
		return strings.ToValidUTF8(string(payload), "\uFFFD") + more
	}
	return "base64 " + base64.StdEncoding.EncodeToString(payload) + more
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	}) < 0
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
