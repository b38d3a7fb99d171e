package policy

import "math"

// Step is one step of a decision with its figures, kept in this form and
// rendered when read: figures never change, wording may.
type Step struct {
	Code StepCode
	// Args are the step's figures; what each is stands with the code. Durations
	// and moments are milliseconds, moments since 1970; multipliers and
	// proportions are the bits of a float64.
	Args []int64
	// Text is the step's name, such as a rule's; empty with most codes.
	Text string
}

// StepCode names a kind of step. Codes are stored: they are never renumbered,
// none changes its meaning, and new figures go behind the old.
type StepCode uint8

// The codes, with their Args and, where they have one, Text.
const (
	// StepPermanent: the failure is marked permanent. No figures.
	StepPermanent StepCode = 1
	// StepRule: a rule matched. Its index from 0, its Action. Text: its name.
	StepRule StepCode = 2
	// StepNoRule: no rule matched. The default Action.
	StepNoRule StepCode = 3
	// StepHeld: the task waits. Text: the hold condition.
	StepHeld StepCode = 4
	// StepRetriesUsed: no retry is left. Retries used, the policy's limit.
	StepRetriesUsed StepCode = 5
	// StepRuleRetriesUsed: none is left under the rule. Retries used, the rule's
	// limit. Text: the rule.
	StepRuleRetriesUsed StepCode = 6
	// StepFixed: the base delay. Retry from 1, delay.
	StepFixed StepCode = 7
	// StepExponential: the base delay. Retry from 1, initial delay, multiplier,
	// delay.
	StepExponential StepCode = 8
	// StepDelays: the base delay. Retry from 1, number of delays listed, delay.
	StepDelays StepCode = 9
	// StepDate: the date chosen. Its index from 0, number of dates listed, moment.
	StepDate StepCode = 10
	// StepNoMoreDates: no date is left. Number of dates listed, moment after
	// which none is.
	StepNoMoreDates StepCode = 11
	// StepDelayMultiplier: the rule stretches the delay. Multiplier, delay. Text:
	// the rule.
	StepDelayMultiplier StepCode = 12
	// StepMaxDelay: the delay is cut. The cap.
	StepMaxDelay StepCode = 13
	// StepJitter: a delay is drawn. JitterKind, proportion, lowest, highest, the
	// delay drawn.
	StepJitter StepCode = 14
	// StepRetryAfterIgnored: the policy leaves hints aside. No figures.
	StepRetryAfterIgnored StepCode = 15
	// StepRetryAfterUnreadable: a header that is neither seconds nor a date.
	// Text: the header.
	StepRetryAfterUnreadable StepCode = 16
	// StepRetryAfterZero: a hint of 0 seconds. Text: the header.
	StepRetryAfterZero StepCode = 17
	// StepRetryAfterNegative: a negative hint. Text: the header, or the field.
	StepRetryAfterNegative StepCode = 18
	// StepRetryAfterPast: a date that has passed. Text: the header.
	StepRetryAfterPast StepCode = 19
	// StepRetryAfterBoth: the later of two hints counts. The header's, the
	// field's.
	StepRetryAfterBoth StepCode = 20
	// StepRetryAfterCapped: the hint is cut. The hint, the cap.
	StepRetryAfterCapped StepCode = 21
	// StepRetryAfterUsed: the hint decides. The hint, the delay so far, the
	// RetryAfterMode.
	StepRetryAfterUsed StepCode = 22
	// StepRetryAfterShorter: the delay so far decides. The hint, the delay.
	StepRetryAfterShorter StepCode = 23
	// StepRetryAfterSpread: a delay is drawn from the hint upwards. Proportion,
	// lowest, highest, the delay drawn.
	StepRetryAfterSpread StepCode = 24
	// StepRetryAfterDate: dates before the hint are passed over. The hint, the
	// moment that it stands for.
	StepRetryAfterDate StepCode = 25
	// StepRetryAfterDateLater: the date is not before the hint anyway. The hint,
	// the moment that it stands for.
	StepRetryAfterDateLater StepCode = 26
	// StepWindow: moved over a pause window. Its index from 0, the moment that
	// fell into it, its end, the width of its spread, what was drawn from it.
	// Text: its time zone; empty for one that is open once.
	StepWindow StepCode = 27
	// StepWindowsMore: moved over more windows. How many more, the moment reached.
	StepWindowsMore StepCode = 28
	// StepWindowsFirstFree: draws from the spreads found nothing free. The moment
	// that fell into a window, the first that is free.
	StepWindowsFirstFree StepCode = 29
	// StepWindowsIgnored: the windows leave nothing free. How far was looked.
	StepWindowsIgnored StepCode = 30
	// StepMaxElapsed: too late for the policy. The next attempt's moment, the last
	// allowed, max_elapsed.
	StepMaxElapsed StepCode = 31
	// StepDeadline: too late for the task. The next attempt's moment, the
	// deadline.
	StepDeadline StepCode = 32
	// StepScheduled: the outcome. The next attempt, its moment, the delay.
	StepScheduled StepCode = 33
	// StepNoPolicy: there is no policy to retry by. No figures.
	StepNoPolicy StepCode = 34
)

func floatArg(f float64) int64 { return int64(math.Float64bits(f)) }

func argFloat(a int64) float64 { return math.Float64frombits(uint64(a)) }

// stepList collects steps. A nil list collects nothing: what other draws would
// give is worked out with the same code and needs no account of it.
type stepList struct {
	steps []Step
	// args holds the figures of all steps, so that they cost one allocation.
	args []int64
}

func newStepList() *stepList {
	return &stepList{steps: make([]Step, 0, 6), args: make([]int64, 0, 20)}
}

func (s *stepList) add(code StepCode, text string, args ...int64) {
	if s == nil {
		return
	}
	step := Step{Code: code, Text: text}
	if len(args) > 0 {
		from := len(s.args)
		s.args = append(s.args, args...)
		step.Args = s.args[from:len(s.args):len(s.args)]
	}
	s.steps = append(s.steps, step)
}

// mark and reset take back steps that turned out not to shape the decision.
func (s *stepList) mark() int {
	if s == nil {
		return 0
	}
	return len(s.steps)
}

func (s *stepList) reset(mark int) {
	if s != nil {
		s.steps = s.steps[:mark]
	}
}

// maxWindowSteps bounds what a walk over many windows leaves in a record.
const maxWindowSteps = 8

func (s *stepList) addWindow(i int, w *window, z *zoneCursor, t, end, drawn int64) {
	if s == nil || i >= maxWindowSteps {
		return
	}
	zone := ""
	if !w.once {
		zone = z.in(w.zone).String()
	}
	s.add(StepWindow, zone, int64(w.index), t, end, w.spreadMS, drawn)
}

func (s *stepList) endWindows(moves int, t int64) {
	if moves > maxWindowSteps {
		s.add(StepWindowsMore, "", int64(moves-maxWindowSteps), t)
	}
}
