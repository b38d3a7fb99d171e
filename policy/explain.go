package policy

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Explain renders steps as plain English, a sentence each. It reads what older
// and newer versions stored: a figure that is missing counts as 0, a code that
// it does not know is named by its number.
func Explain(steps []Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.sentence()
	}
	return out
}

// arg is a step's i-th figure.
func (s Step) arg(i int) int64 {
	if i < len(s.Args) {
		return s.Args[i]
	}
	return 0
}

// sentence renders one step. Those of nearly every decision do without fmt, which
// takes several times as long, on the way of every report.
func (s Step) sentence() string {
	a := s.arg
	switch s.Code {
	case StepNoPolicy:
		return "The task has no policy: its job names none for its environment, and none of its own."
	case StepPermanent:
		return "The failure is permanent: it is never retried, whatever the policy says."
	case StepRule:
		if s.Text == "" {
			return fmt.Sprintf("Rule %d, which has no name, matched; its action is %s.", next(a(0)), actionArg(a(1)))
		}
		return fmt.Sprintf("Rule %d, %q, matched; its action is %s.", next(a(0)), s.Text, actionArg(a(1)))
	case StepNoRule:
		return "No rule matched; the default action is " + actionArg(a(0)) + "."
	case StepHeld:
		return fmt.Sprintf("The task is held until the condition %q is released.", s.Text)
	case StepRetriesUsed:
		if a(1) == 0 {
			return "The policy allows no retries."
		}
		return fmt.Sprintf("Retries used: %d; the policy allows %d.", a(0), a(1))
	case StepRuleRetriesUsed:
		return fmt.Sprintf("Retries used under rule %q: %d; it allows %d.", s.Text, a(0), a(1))
	case StepMaxElapsed:
		return fmt.Sprintf("The next attempt would be at %s, past max_elapsed: %s after the first failure is %s.", moment(a(0)), words(a(2)), moment(a(1)))
	case StepDeadline:
		return fmt.Sprintf("The next attempt would be at %s, past the task's deadline, %s.", moment(a(0)), moment(a(1)))
	case StepScheduled:
		return "Attempt " + whole(a(0)) + " is due at " + moment(a(1)) + ", " + words(a(2)) + " after this failure."
	}
	switch {
	case s.Code >= StepFixed && s.Code <= StepJitter:
		return s.delaySentence()
	case s.Code >= StepRetryAfterIgnored && s.Code <= StepRetryAfterDateLater:
		return s.retryAfterSentence()
	case s.Code >= StepWindow && s.Code <= StepWindowsIgnored:
		return s.windowSentence()
	}
	return fmt.Sprintf("Step %d, which this version does not know.", s.Code)
}

func (s Step) delaySentence() string {
	a := s.arg
	switch s.Code {
	case StepFixed:
		return "Retry " + whole(a(0)) + ": the fixed delay is " + words(a(1)) + "."
	case StepExponential:
		return "Retry " + whole(a(0)) + ": " + words(a(1)) + " times " + number(a(2)) +
			" to the power of " + strconv.FormatUint(before(a(0)), 10) + " is a delay of " + words(a(3)) + "."
	case StepDelays:
		return fmt.Sprintf("Retry %d: delay %d of the %d listed is %s.", a(0), a(0), a(1), words(a(2)))
	case StepDate:
		return fmt.Sprintf("Date %d of the %d listed is the next: %s.", next(a(0)), a(1), moment(a(2)))
	case StepNoMoreDates:
		return fmt.Sprintf("None of the %d dates listed is left after %s.", a(0), moment(a(1)))
	case StepDelayMultiplier:
		return fmt.Sprintf("Rule %q multiplies the delay by %s: %s.", s.Text, number(a(0)), words(a(1)))
	case StepMaxDelay:
		return fmt.Sprintf("The delay is cut to max_delay, %s.", words(a(0)))
	default:
		return "Jitter (" + jitterName(a(0), a(1)) + ") drew " + words(a(4)) + " from " + words(a(2)) + " to " + words(a(3)) + "."
	}
}

func (s Step) retryAfterSentence() string {
	a := s.arg
	switch s.Code {
	case StepRetryAfterIgnored:
		return "Retry-After was not used: the policy ignores it."
	case StepRetryAfterUnreadable:
		return fmt.Sprintf("Retry-After %q was not used: it is neither seconds nor an HTTP-date.", s.Text)
	case StepRetryAfterZero:
		return fmt.Sprintf("Retry-After %q was not used: zero is no hint.", s.Text)
	case StepRetryAfterNegative:
		return fmt.Sprintf("Retry-After %q was not used: it is negative.", s.Text)
	case StepRetryAfterPast:
		return fmt.Sprintf("Retry-After %q was not used: it has passed.", s.Text)
	case StepRetryAfterBoth:
		return fmt.Sprintf("Of two hints, the Retry-After header of %s and the retry_after field of %s, the later counts.", words(a(0)), words(a(1)))
	case StepRetryAfterCapped:
		return fmt.Sprintf("Retry-After of %s is cut to its cap, %s.", words(a(0)), words(a(1)))
	case StepRetryAfterUsed:
		if RetryAfterMode(a(2)) == RetryAfterOverride {
			return fmt.Sprintf("Retry-After of %s is used instead of the delay of %s.", words(a(0)), words(a(1)))
		}
		return fmt.Sprintf("Retry-After of %s is used: it is later than the delay of %s.", words(a(0)), words(a(1)))
	case StepRetryAfterShorter:
		return fmt.Sprintf("Retry-After of %s was not used: the delay of %s is not shorter.", words(a(0)), words(a(1)))
	case StepRetryAfterSpread:
		return fmt.Sprintf("Spread upwards by %s, it became %s, drawn from %s to %s.", percent(a(0)), words(a(3)), words(a(1)), words(a(2)))
	case StepRetryAfterDate:
		return fmt.Sprintf("Retry-After of %s is used: dates before %s are passed over.", words(a(0)), moment(a(1)))
	default:
		return fmt.Sprintf("Retry-After of %s was not used: the next date is not before %s anyway.", words(a(0)), moment(a(1)))
	}
}

func (s Step) windowSentence() string {
	a := s.arg
	switch s.Code {
	case StepWindow:
		zone := "open once"
		if s.Text != "" {
			zone = "in " + s.Text
		}
		text := fmt.Sprintf("%s falls into pause window %d (%s) and moves to its end, %s", moment(a(1)), next(a(0)), zone, moment(a(2)))
		if a(3) > 0 {
			text += fmt.Sprintf(", plus %s drawn from a spread of %s", words(a(4)), words(a(3)))
		}
		return text + "."
	case StepWindowsMore:
		return fmt.Sprintf("It moves on over %d more pause windows, to %s.", a(0), moment(a(1)))
	case StepWindowsFirstFree:
		return fmt.Sprintf("%s falls into a pause window; draws from the spreads met window after window, so the first free moment is taken, %s.", moment(a(0)), moment(a(1)))
	default:
		return fmt.Sprintf("The pause windows are ignored: they leave no moment of %s free.", words(a(0)))
	}
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// next and before are i+1 and i-1 for figures that may be anything.
func next(i int64) uint64   { return uint64(i) + 1 }
func before(i int64) uint64 { return uint64(max(i, 1) - 1) }

func actionArg(a int64) string {
	if a < 0 || a > math.MaxUint8 {
		a = 0
	}
	return Action(a).String()
}

func number(bits int64) string {
	return strconv.FormatFloat(argFloat(bits), 'g', -1, 64)
}

func percent(bits int64) string {
	return strconv.FormatFloat(math.Round(argFloat(bits)*1e4)/1e2, 'f', -1, 64) + " %"
}

func jitterName(kind, proportion int64) string {
	if kind < 0 || kind > math.MaxUint8 {
		kind = 0
	}
	name := strings.ToLower(JitterKind(kind).String())
	if JitterKind(kind) == JitterProportional {
		name = "proportional, +-" + percent(proportion)
	}
	return name
}

// moment is RFC 3339 in UTC.
func moment(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

// words writes a duration as people do, such as "1 h 30 min" or "1.5 s".
func words(ms int64) string {
	if ms < 0 {
		if ms == math.MinInt64 {
			ms++
		}
		return "-" + words(-ms)
	}
	if ms < 1000 {
		return whole(ms) + " ms"
	}
	var room [64]byte
	text := room[:0]
	rest := ms
	for _, u := range [...]struct {
		ms   int64
		name string
	}{{secondsPerDay * 1000, " d "}, {3600_000, " h "}, {60_000, " min "}} {
		if n := rest / u.ms; n > 0 {
			text = append(strconv.AppendInt(text, n, 10), u.name...)
			rest %= u.ms
		}
	}
	if rest == 0 {
		return string(text[:len(text)-1])
	}
	text = strconv.AppendInt(text, rest/1000, 10)
	if frac := rest % 1000; frac > 0 {
		digits := []byte{'.', byte('0' + frac/100), byte('0' + frac/10%10), byte('0' + frac%10)}
		text = append(text, bytes.TrimRight(digits, "0")...)
	}
	return string(append(text, " s"...))
}
