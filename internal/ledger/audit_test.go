package ledger_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/internal/ledger"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// began is when everything here begins; all times are in milliseconds from then on.
var began = time.UnixMilli(1_700_000_000_000)

func at(ms int64) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

// store is one that holds what tests put into it.
type store map[string]*scheduler.Task

// Load implements [ledger.Store].
func (s store) Load(_ context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	out := make([]scheduler.Loaded, len(keys))
	for i, key := range keys {
		out[i].Task = s[key.ID]
	}
	return out
}

// scene is a run of one task, "a": reported at 0, due at 200, which failed, due again
// at 400, when it succeeded. Tests spoil it.
type scene struct {
	decision *client.Decision
	err      error
	// handouts are of attempts 2 and 3, in order, with their outcomes.
	handouts []handout
	task     *scheduler.Task
	killed   []string
	trials   []ledger.Trial
	extended []ledger.Extension
	windows  []ledger.Window
}

type handout struct {
	ledger.Handout
	outcome *ledger.Outcome
	fence   scheduler.Fence
}

func token(number int64) (string, scheduler.Fence) {
	f := scheduler.Fence{Number: number, Nonce: 7}
	return scheduler.LeaseToken{Key: scheduler.TaskKey{Namespace: "default", ID: "a"}, Fence: f}.String(), f
}

// handed is a delivery of an attempt, claimed for a second.
func handed(via string, attempt, delivery int, due, claimed, number int64) handout {
	text, fence := token(number)
	return handout{fence: fence, Handout: ledger.Handout{
		At: at(claimed + 1), Via: via, Task: "a", Token: text, Attempt: attempt, Delivery: delivery,
		Due: at(due), Claimed: at(claimed), Ends: at(claimed + 1000),
	}}
}

func (h handout) settled(o ledger.Outcome) handout {
	o.At, o.Token = h.At.Add(time.Millisecond), h.Token
	h.outcome = &o
	return h
}

func retry(attempt int, next int64) *client.Decision {
	return &client.Decision{Action: client.ActionRetry, Attempt: attempt, NextAttempt: attempt + 1, NextAttemptTime: at(next)}
}

func newScene() *scene {
	second := handed("w", 2, 1, 200, 201, 1).settled(ledger.Outcome{Decision: retry(2, 400)})
	third := handed("w", 3, 1, 400, 401, 2).settled(ledger.Outcome{Succeeded: true})
	return &scene{
		decision: retry(1, 200),
		handouts: []handout{second, third},
		task: &scheduler.Task{
			Key: scheduler.TaskKey{Namespace: "default", ID: "a"}, State: scheduler.StateSucceeded, Generation: 1,
			History: []scheduler.AttemptRecord{
				{Attempt: 1, Decision: policy.Decision{NextMS: at(200).UnixMilli()}},
				{Attempt: 2, Decision: policy.Decision{NextMS: at(400).UnixMilli()}, Fence: second.fence, Deliveries: 1},
				{Attempt: 3, Success: true, Fence: third.fence, Deliveries: 1},
			},
		},
	}
}

// audit enters the scene, by way of lines, and audits it.
func (s *scene) audit(t *testing.T) (ledger.Figures, string) {
	t.Helper()
	l := ledger.New()
	l.Reported("a", "all", s.decision, s.err)
	r, w := io.Pipe()
	go func() {
		lines := ledger.NewWriter(w)
		for _, h := range s.handouts {
			lines.HandedOut(h.Handout)
			if h.outcome != nil {
				lines.Settled(*h.outcome)
			}
		}
		for _, e := range s.extended {
			lines.Extended(e)
		}
		for _, trial := range s.trials {
			lines.Tried(trial)
		}
		_ = w.CloseWithError(lines.Err())
	}()
	if err := ledger.Read(r, l); err != nil {
		t.Fatal(err)
	}
	for _, via := range s.killed {
		l.Killed(via)
	}
	kept := store{}
	if s.task != nil {
		kept["a"] = s.task
	}
	sum, found, err := l.Audit(t.Context(), kept, ledger.Plan{Attempts: 3, Windows: s.windows})
	if err != nil {
		t.Fatal(err)
	}
	return sum, strings.Join(found, "\n")
}

func TestWhatWentWellIsNoProblem(t *testing.T) {
	t.Parallel()
	lost := ledger.Outcome{Refused: "the lease is lost", LeaseLost: true}
	for name, change := range map[string]func(s *scene){
		"plain": func(*scene) {},
		"a worker was killed": func(s *scene) {
			s.handouts = append([]handout{handed("dead", 2, 1, 200, 200, 0)}, s.handouts...)
			s.handouts[1] = handed("w", 2, 2, 200, 1200, 1).settled(*s.handouts[1].outcome)
			s.task.History[1].Deliveries = 2
			s.killed = []string{"dead"}
		},
		"a lease was lost": func(s *scene) {
			s.handouts = append([]handout{handed("slow", 2, 1, 200, 200, 0).settled(lost)}, s.handouts...)
			s.handouts[1] = handed("w", 2, 2, 200, 1200, 1).settled(*s.handouts[1].outcome)
			s.task.History[1].Deliveries = 2
			s.trials = []ledger.Trial{{Token: s.handouts[0].Token, What: "success", Answer: "LEASE_LOST"}}
		},
		"not answered, and not kept": func(s *scene) {
			s.decision, s.err, s.task, s.handouts = nil, errors.New("no answer"), nil, nil
		},
		"lost when it could be": func(s *scene) {
			s.task, s.handouts = nil, nil
			s.windows = []ledger.Window{{From: time.Now().Add(-time.Minute), To: time.Now().Add(time.Minute)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			change(s)
			if sum, found := s.audit(t); found != "" {
				t.Errorf("%+v:\n%s", sum, found)
			}
		})
	}
}

func TestWhatMustNotBeIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *scene)
		want   string
		count  func(f ledger.Figures) int
	}{
		"a lost report": {
			func(s *scene) { s.task, s.handouts = nil, nil },
			"I1: lost: a report", func(f ledger.Figures) int { return f.LostReports },
		},
		"a lost outcome": {
			func(s *scene) { s.task.History[2].Fence = scheduler.Fence{Number: 9} },
			"I1: lost: an outcome of attempt 3", func(f ledger.Figures) int { return f.LostOutcomes },
		},
		"a lost claim": {
			func(s *scene) { s.handouts[1] = handed("w", 2, 1, 200, 1300, 2) },
			"I1: lost: delivery 1 of attempt 2", func(f ledger.Figures) int { return f.LostClaims },
		},
		"a double effect": {
			func(s *scene) { s.task.History = append(s.task.History, s.task.History[2]) },
			"I2, I6, I8", func(f ledger.Figures) int { return f.Doubled },
		},
		"a burned retry": {
			func(s *scene) { s.task.History[2].Attempt = 4 },
			"I2, I6, I8", func(f ledger.Figures) int { return f.Broken },
		},
		"another decision": {
			func(s *scene) { s.task.History[1].Decision.NextMS++ },
			"I2: the worker was told another decision", func(f ledger.Figures) int { return f.Broken },
		},
		"an early hand-out": {
			func(s *scene) { s.handouts[1].Claimed = at(399) },
			"I3: attempt 3", func(f ledger.Figures) int { return f.Early },
		},
		"overlapping leases": {
			func(s *scene) {
				s.handouts = append([]handout{handed("dead", 2, 1, 200, 200, 0)}, s.handouts...)
				s.handouts[1] = handed("w", 2, 2, 200, 1199, 1).settled(*s.handouts[1].outcome)
				s.task.History[1].Deliveries = 2
				s.killed = []string{"dead"}
			},
			"I4: deliveries 1 and 2 of attempt 2 overlap", func(f ledger.Figures) int { return f.Overlaps },
		},
		"an extension that was forgotten": {
			func(s *scene) {
				s.handouts = append([]handout{handed("dead", 2, 1, 200, 200, 0)}, s.handouts...)
				s.handouts[1] = handed("w", 2, 2, 200, 1200, 1).settled(*s.handouts[1].outcome)
				s.task.History[1].Deliveries = 2
				s.killed = []string{"dead"}
				s.extended = []ledger.Extension{{At: at(500), Token: s.handouts[0].Token, Ends: at(1500)}}
			},
			"an extension of delivery 1", func(f ledger.Figures) int { return f.LostClaims },
		},
		"a refused outcome with an effect": {
			func(s *scene) {
				s.handouts[1] = s.handouts[1].settled(ledger.Outcome{Refused: "the lease is lost", LeaseLost: true})
			},
			"I5: an outcome of attempt 3 was refused", func(f ledger.Figures) int { return f.StaleTaken },
		},
		"a stale outcome with an effect": {
			func(s *scene) {
				s.handouts = append(s.handouts, handed("w", 3, 2, 400, 1500, 3).settled(ledger.Outcome{Refused: "lost", LeaseLost: true}))
			},
			"I5: delivery 1 settled attempt 3", func(f ledger.Figures) int { return f.StaleTaken },
		},
		"a trial that was taken": {
			func(s *scene) { s.trials = []ledger.Trial{{Token: s.handouts[0].Token, What: "release", Taken: true}} },
			"I5: a: a release was taken", func(f ledger.Figures) int { return f.StaleTaken },
		},
		"a trial that was answered otherwise": {
			func(s *scene) {
				s.trials = []ledger.Trial{{Token: s.handouts[0].Token, What: "release", Answer: "INTERNAL"}}
			},
			"answered with INTERNAL", func(f ledger.Figures) int { return f.StaleTried },
		},
		"a hand-out without an end": {
			func(s *scene) { s.handouts[1].outcome = nil },
			"I8: a hand-out of attempt 3 has not ended", func(f ledger.Figures) int { return f.Broken },
		},
		"a task that has not ended": {
			func(s *scene) { s.task.State = scheduler.StateScheduled },
			"I2, I6, I8", func(f ledger.Figures) int { return f.Broken },
		},
		"one lease twice": {
			func(s *scene) { s.handouts = append(s.handouts, s.handouts[1]) },
			"handed out twice under one lease", func(f ledger.Figures) int { return f.Tasks },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			c.change(s)
			sum, found := s.audit(t)
			if !strings.Contains(found, c.want) || c.count(sum) != 1 {
				t.Errorf("%+v, found, where %q should be:\n%s", sum, c.want, found)
			}
		})
	}
}

// TestOverlapsAreCountedWhereClaimsMayBeLost has the store lose a claim when it may:
// this is no problem, and who else held the attempt meanwhile is counted all the same.
func TestOverlapsAreCountedWhereClaimsMayBeLost(t *testing.T) {
	t.Parallel()
	first := handed("dead", 2, 1, 200, 201, 0)
	for name, c := range map[string]struct {
		change   func(s *scene)
		overlaps int
	}{
		"it is held": {func(s *scene) { s.handouts[0] = first }, 1},
		"it has been settled": {func(s *scene) {
			s.handouts[0] = first.settled(ledger.Outcome{Refused: "the lease is lost", LeaseLost: true})
		}, 0},
		"it has ended": {func(s *scene) {
			s.handouts[0] = first
			s.handouts[1] = handed("w", 2, 1, 200, 1201, 1).settled(*s.handouts[1].outcome)
		}, 0},
		"its extension is lost": {func(s *scene) {
			s.handouts[0] = first
			s.handouts[1] = handed("w", 2, 2, 200, 1300, 1).settled(*s.handouts[1].outcome)
			s.task.History[1].Deliveries = 2
			s.extended = []ledger.Extension{{At: at(500), Token: first.Token, Ends: at(1500)}}
		}, 1},
		"an earlier attempt comes again": {func(s *scene) {
			s.handouts[0] = handed("dead", 3, 1, 400, 401, 0)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			s.killed = []string{"dead"}
			s.windows = []ledger.Window{{From: at(0), To: at(600)}}
			second := handed("w", 2, 1, 200, 700, 1).settled(*s.handouts[0].outcome)
			s.handouts = append([]handout{{}, second}, s.handouts[1])
			s.handouts[2] = handed("w", 3, 1, 400, 2401, 2).settled(*s.handouts[2].outcome)
			c.change(s)
			if sum, found := s.audit(t); sum.Overlaps != c.overlaps || sum.LostClaims != 1 || found != "" {
				t.Errorf("%+v, want %d overlaps and a claim lost:\n%s", sum, c.overlaps, found)
			}
		})
	}
}

func TestRedeliveriesAreToldOfWhatWasHeld(t *testing.T) {
	t.Parallel()
	l := ledger.New()
	l.HandedOut(handed("dead", 2, 1, 200, 200, 1).Handout)
	if _, missing := l.Redeliveries("dead"); len(missing) != 1 {
		t.Errorf("missing %q, want a", missing)
	}
	again := handed("w", 2, 2, 200, 1250, 2)
	l.HandedOut(again.Handout)
	if err := l.AwaitRedelivered(t.Context(), "dead"); err != nil {
		t.Fatal(err)
	}
	came, missing := l.Redeliveries("dead")
	want := ledger.Redelivery{Task: "a", Ended: at(1200), At: again.At}
	if len(came) != 1 || came[0] != want || len(missing) != 0 {
		t.Errorf("came %+v, missing %q, want %+v", came, missing, want)
	}
}

func TestATornLineIsNotTold(t *testing.T) {
	t.Parallel()
	l := ledger.New()
	if err := ledger.Read(strings.NewReader(`{"handout":{"Task":"a"`), l); err != nil {
		t.Errorf("error %v", err)
	}
	for _, text := range []string{"{}\n", "nonsense\n"} {
		if err := ledger.Read(strings.NewReader(text), l); err == nil {
			t.Errorf("%q is taken for an entry", text)
		}
	}
}
