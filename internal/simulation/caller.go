package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// book is what a caller knows of a task of its own.
type book struct {
	w    *world
	key  scheduler.TaskKey
	spec scheduler.Spec
	// said counts its reports.
	said int
}

// report is one report, however often it is sent. Its tag is in what it says, so that
// its effect is found again.
type report struct {
	tag string
	// from tells who sends it.
	from string
	r    scheduler.Report
	// loose says that nothing in it tells a resend from the next attempt's report.
	loose bool
	// sent is how often it was.
	sent int
	// handout is that of its token.
	handout *handout
}

// queues are those that workers subscribe to.
var queues = []string{"q0", "q1", "q2"}

// open begins a task within the span.
func (w *world) open(number int) {
	b := &book{w: w, key: scheduler.TaskKey{Namespace: namespaces[number%2], ID: fmt.Sprintf("t%d", number/2)}}
	w.books = append(w.books, b)
	b.spec = scheduler.Spec{Queue: queues[w.rng.IntN(len(queues))], Policy: w.ledger.ids[w.rng.IntN(len(w.ledger.ids))], Payload: []byte("payload")}
	if w.chance(0.1) {
		b.spec.Queue = ""
	}
	if w.chance(0.3) {
		b.spec.Group = "group"
	}
	at := w.between(0, w.plan.span*2/3)
	if w.chance(0.1) {
		b.spec.DeadlineMS = w.began.Add(at + w.between(20*time.Second, 3*time.Minute)).UnixMilli()
	}
	w.after(at, b.begin)
	for range w.rng.IntN(3) {
		w.after(w.between(at, w.plan.span), b.meddle)
	}
	if b.spec.Queue == "" {
		w.after(at, b.pull)
	}
}

// begin reports the task's first attempt.
func (b *book) begin() {
	w := b.w
	if w.chance(0.05) {
		rep := b.report(true, 1)
		b.send(rep, 1)
		return
	}
	rep := b.report(false, 1)
	switch x := w.rng.Float64(); {
	case x < 0.25:
		rep.r.Attempt, rep.r.Key = 0, "key"
	case x < 0.35:
		rep.r.Attempt, rep.loose = 0, true
	}
	copies := 1
	if w.chance(0.3) {
		copies += w.rng.IntN(4)
	}
	b.send(rep, copies)
}

// meddle sends something that a caller may send at any time, rightly or not.
func (b *book) meddle() {
	if b.w.healed {
		return
	}
	attempt := 1
	if t := b.w.ledger.account(b.key).now; t != nil {
		attempt = max(1, t.Attempt+b.w.rng.IntN(4)-2)
	}
	rep := b.report(b.w.chance(0.2), attempt)
	if b.w.chance(0.3) {
		rep.r.Key = "key"
	}
	if b.w.chance(0.2) {
		rep.r.Attempt, rep.loose = 0, rep.r.Key == "" && rep.r.Failure != nil
	}
	b.send(rep, 1+b.w.rng.IntN(2))
}

// report makes a new report of the task.
func (b *book) report(success bool, attempt int) *report {
	b.said++
	rep := &report{tag: fmt.Sprintf("%s/%s/c%d", b.key.Namespace, b.key.ID, b.said), from: "caller"}
	rep.r = scheduler.Report{Namespace: b.key.Namespace, ID: b.key.ID, Spec: b.spec, Attempt: attempt}
	rep.says(b.w, success)
	return rep
}

// says draws what the report says.
func (rep *report) says(w *world, success bool) {
	if success {
		rep.r.Failure, rep.r.Outcome = nil, rep.tag
		return
	}
	f := &policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500, Code: rep.tag, Message: "it failed"}
	switch w.rng.IntN(8) {
	case 0:
		f.HTTPStatus, f.RetryAfterHeader = 429, "7"
	case 1:
		f.HTTPStatus = 429
	case 2:
		f.Cause, f.HTTPStatus = policy.CauseTimeout, 0
	case 3:
		f.Permanent = w.chance(0.3)
	}
	rep.r.Failure = f
}

// send sends copies of a report, by whatever replica, in whatever order they arrive.
func (b *book) send(rep *report, copies int) {
	if rep.loose {
		b.w.ledger.loose[rep.tag] = true
	}
	b.w.sendSoon(rep)
	for range copies - 1 {
		b.w.after(b.w.between(0, 12*time.Second), func() { b.w.sendSoon(rep) })
	}
}

// tries is how often a report is sent again when its answer does not come.
const tries = 4

func (w *world) sendSoon(rep *report) { w.send(tries, rep) }

// send sends reports in one call.
func (w *world) send(left int, reps ...*report) {
	again := func(reps ...*report) {
		if len(reps) > 0 && (left > 0 || w.healed) {
			w.after(w.between(200*time.Millisecond, 3*time.Second), func() { w.send(left-1, reps...) })
		}
	}
	r := w.anyReplica()
	if r == nil {
		again(reps...)
		return
	}
	limit := w.between(500*time.Millisecond, 6*time.Second)
	reports := make([]scheduler.Report, len(reps))
	for i, rep := range reps {
		rep.sent++
		reports[i] = rep.r
	}
	var got []scheduler.Reported
	w.figures.Reports += len(reps)
	w.ask(r, limit, func(ctx context.Context, s *scheduler.Scheduler) {
		got = s.ReportBatch(ctx, reports)
	}, func(lost bool) {
		var unsure []*report
		for i, rep := range reps {
			if lost {
				w.note(rep.from, "reports %s: no answer", rep)
				unsure = append(unsure, rep)
				continue
			}
			w.note(rep.from, "reports %s to %s: %s", rep, r.name, told(got[i]))
			if unknown(got[i].Err) {
				unsure = append(unsure, rep)
				continue
			}
			w.ledger.answered(rep, got[i].Answer, got[i].Err)
		}
		again(unsure...)
	})
}

// unknown says whether an error leaves open what has happened.
func unknown(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var e *scheduler.Error
	return errors.As(err, &e) && (e.Kind == scheduler.KindUnavailable || e.Kind == scheduler.KindFull)
}

func (rep *report) String() string {
	what := "success"
	if rep.r.Failure != nil {
		what = "failure"
	}
	if rep.r.Attempt != 0 {
		what += fmt.Sprintf(" of attempt %d", rep.r.Attempt)
	}
	if rep.r.Key != "" {
		what += " under a key"
	}
	return rep.tag + ", " + what
}

func told(got scheduler.Reported) string {
	if got.Err != nil {
		return got.Err.Error()
	}
	rec := &got.Answer.Record
	out := fmt.Sprintf("attempt %d succeeded", rec.Attempt)
	if !rec.Success {
		out = fmt.Sprintf("attempt %d failed, %s", rec.Attempt, rec.Decision.Reason.String())
	}
	if got.Answer.Duplicate {
		out += " (duplicate)"
	}
	return out
}

// pull asks for the next attempt of a task that nobody else drives.
func (b *book) pull() {
	w := b.w
	if t := w.ledger.account(b.key).now; t != nil && t.State.Live() {
		w.pull(scheduler.NextRequest{
			Namespace: b.key.Namespace, TaskID: b.key.ID, Wait: w.between(0, 4*time.Second), Lease: w.between(2*time.Second, 10*time.Second),
		})
	}
	w.after(w.between(time.Second, 8*time.Second), b.pull)
}

// pullAny asks for any attempt of a queue, as one does who has no stream.
func (w *world) pullAny() {
	w.pull(scheduler.NextRequest{
		Namespace: namespaces[w.rng.IntN(len(namespaces))], Queue: queues[w.rng.IntN(len(queues))],
		Wait: w.between(0, 3*time.Second), Lease: w.between(2*time.Second, 10*time.Second),
	})
}

// pull asks a replica for an attempt.
func (w *world) pull(ask scheduler.NextRequest) {
	r := w.anyReplica()
	if r == nil {
		return
	}
	if w.chance(0.5) {
		ask.Worker = "puller"
	}
	var got scheduler.NextAnswer
	var err error
	w.ask(r, 10*time.Second, func(ctx context.Context, s *scheduler.Scheduler) {
		got, err = s.Next(ctx, ask)
	}, func(lost bool) {
		if lost || err != nil || got.Leased == nil {
			return
		}
		if w.chance(w.share(0.1)) && !got.Again {
			w.note("puller", "goes away before it gets attempt %d of %s", got.Leased.Task.Attempt, got.Leased.Task.Key.ID)
			w.giveBack(r, *got.Leased)
			return
		}
		if h := w.ledger.handedOut("puller", r, *got.Leased, got.Again); h != nil {
			w.work(h)
		}
	})
}

// giveBack has a replica take back what it could not send.
func (w *world) giveBack(r *replica, deliveries ...scheduler.Delivery) {
	if len(deliveries) == 0 {
		return
	}
	w.ask(r, 10*time.Second, func(ctx context.Context, s *scheduler.Scheduler) {
		// What becomes of it shows in the store.
		_ = s.GiveBack(ctx, deliveries)
	}, func(bool) {})
}
