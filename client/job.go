package client

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// job is an attempt from its hand-out until its result is confirmed:
//
//	waiting ──> running ──> concluded, in an outbox ──> sent ──> gone
//	                              ▲                      │
//	                              └──── not confirmed ───┘
//
// Its lease is renewed until it is concluded.
type job struct {
	attempt *Attempt
	// dealer is the line that it came by, whose credit it uses, and home the one
	// that carries what is said about it.
	dealer, home *line

	cancel  context.CancelCauseFunc // nil until it runs
	renewAt time.Time
	lost    bool

	err     error // what the handler returned, once concluded
	outcome *retryv1.Outcome
	plain   bool // its failure was refused and replaced

	queued    bool // in the outbox of home
	backoff   backoff
	notBefore time.Time
	giveUpAt  time.Time
}

// giveUpAfter is how long a result is sent again that the server cannot take. It
// takes one for as long as the attempt is not handed out again, and where its
// store is away, no attempt is.
const giveUpAfter = 24 * time.Hour

// deal takes an attempt in.
func (s *shift) deal(l *line, p *retryv1.Attempt) {
	token := p.GetLeaseToken()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if token == "" || s.jobs[token] != nil {
		return
	}
	j := &job{
		attempt:  attemptOf(p),
		dealer:   l,
		home:     l,
		renewAt:  now.Add(s.w.cfg.lease / renewals),
		giveUpAt: now.Add(giveUpAfter),
	}
	s.jobs[token] = j
	l.lastToken = token
	l.dealt++
	l.jobs[token] = j
	l.renewBy(j.renewAt)
	l.look()
	if s.closing {
		s.conclude(j, Release(0))
		return
	}
	s.waiting = append(s.waiting, j)
	s.begin()
}

// begin runs handlers for waiting jobs. Callers hold mu.
func (s *shift) begin() {
	for s.running < s.w.cfg.concurrency && len(s.waiting) > 0 {
		j := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		ctx, cancel := context.WithCancelCause(s.work)
		j.cancel = cancel
		s.running++
		s.handlers.Go(func() { s.perform(ctx, j) })
	}
}

func (s *shift) perform(ctx context.Context, j *job) {
	var err error
	returned := false
	defer func() {
		if v := recover(); v != nil {
			s.log.ErrorContext(ctx, "handler panicked",
				"task_id", j.attempt.TaskID, "attempt", j.attempt.Number,
				"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = panicked(fmt.Sprint(v))
		} else if !returned {
			err = panicked("the handler called runtime.Goexit")
		}
		s.performed(j, err)
	}()
	err = result(ctx, s.handle(s.w.c.conn.withTrace(ctx, j.attempt), j.attempt))
	returned = true
}

// result is what a handler returned as a failure or a release; nil for success.
// It belongs to the handler's own code, since it calls the error's: one that is
// a nil pointer in disguise panics when it is asked for its text.
func result(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if release, ok := asRelease(err); ok {
		return release
	}
	stopped := errors.Is(context.Cause(ctx), ErrWorkerStopped)
	if stopped && !is[*Failure](err) && !is[*permanentError](err) {
		// It says that the handler was stopped, and nothing about the task.
		return Release(0)
	}
	return FailureFrom(err)
}

func panicked(v string) *Failure {
	f := OutcomeFailure("panic")
	f.Message = "panic: " + scrubText(v)
	return f
}

func (s *shift) performed(j *job, err error) {
	j.cancel(nil)

	var gone []Settled
	s.mu.Lock()
	s.running--
	if j.lost {
		j.err = err
		gone = append(gone, s.forget(j, Settled{Refused: ErrLeaseLost}))
	} else {
		s.conclude(j, err)
	}
	if !s.closing {
		s.begin()
	}
	s.mu.Unlock()
	s.tell(gone...)
}

// conclude turns a result into the outcome to be sent. Callers
// hold mu.
func (s *shift) conclude(j *job, err error) {
	o := &retryv1.Outcome{
		LeaseToken: j.attempt.LeaseToken, Traceparent: j.attempt.Traceparent, Tracestate: j.attempt.Tracestate,
	}
	if release, ok := asRelease(err); ok {
		o.Result = &retryv1.Outcome_Release{Release: &retryv1.Release{Delay: durationpb.New(release.delay)}}
	} else if err != nil {
		o.Result = &retryv1.Outcome_Failure{Failure: FailureFrom(err).proto()}
	} else {
		o.Result = &retryv1.Outcome_Success{Success: &retryv1.Success{}}
	}
	j.err, j.outcome = err, o
	j.home.post(j)
}

// settled takes what the server made of an outcome.
func (s *shift) settled(r *retryv1.OutcomeResult) {
	s.mu.Lock()
	j := s.jobs[r.GetLeaseToken()]
	if j == nil || j.outcome == nil {
		s.mu.Unlock()
		return
	}
	var res Settled
	switch x := r.GetResult().(type) {
	case *retryv1.OutcomeResult_Failure:
		res.Decision = reportedFailure(x.Failure)
	case *retryv1.OutcomeResult_Success:
		res.Completion = reportedSuccess(x.Success)
	case *retryv1.OutcomeResult_Release:
		res.Released = true
	default:
		e := itemError(r.GetError())
		if s.sendAgain(j, e) {
			s.mu.Unlock()
			return
		}
		res.Refused = e
	}
	res = s.forget(j, res)
	s.mu.Unlock()

	if res.Refused != nil {
		s.log.WarnContext(s.work, "result refused", "task_id", j.attempt.TaskID,
			"attempt", j.attempt.Number, "reason", ReasonOf(res.Refused))
	}
	s.tell(res)
}

// sendAgain arranges for an outcome that was refused to be sent again, where
// that can help. Callers hold mu.
func (s *shift) sendAgain(j *job, e *Error) bool {
	now := time.Now()
	passing := e.RetryDelay > 0 || e.Code == codes.Unavailable || e.Code == codes.DeadlineExceeded
	switch {
	case passing && now.Before(j.giveUpAt):
		j.notBefore = now.Add(j.backoff.next(e.RetryDelay))
	case e.Is(ErrInvalidRequest) && j.outcome.GetFailure() != nil && !j.plain:
		// The handler made up a failure that there cannot be, such as status 0.
		// Without any result the attempt would be delivered again and again.
		s.log.ErrorContext(s.work, "failure of a handler is invalid",
			"task_id", j.attempt.TaskID, "error", e.Error())
		f := OutcomeFailure("error")
		f.Message = j.outcome.GetFailure().GetMessage()
		f.Permanent = j.outcome.GetFailure().GetPermanent()
		j.plain = true
		j.outcome = &retryv1.Outcome{
			LeaseToken:  j.attempt.LeaseToken,
			Result:      &retryv1.Outcome_Failure{Failure: f.proto()},
			Traceparent: j.attempt.Traceparent,
			Tracestate:  j.attempt.Tracestate,
		}
	default:
		return false
	}
	j.home.post(j)
	return true
}

// forget drops a job of which nothing more is to be said. Callers hold mu.
func (s *shift) forget(j *job, res Settled) Settled {
	delete(s.jobs, j.attempt.LeaseToken)
	delete(j.home.jobs, j.attempt.LeaseToken)
	j.dealer.dealt--
	j.home.look()
	if s.current != nil && s.current != j.dealer {
		s.current.look() // its credit has grown
	}
	select {
	case s.left <- struct{}{}:
	default:
	}
	res.Attempt, res.Err = j.attempt, j.err
	return res
}
