package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/access"
)

const (
	// inboxSize is how many outcomes of a stream wait to be settled, and so about how
	// many may be settled together; past it nothing more is read from the client.
	// There is room for so many from the start, in every stream.
	inboxSize = 128
	// resultsSize lets the settler go on while results are being sent. It needs
	// no more: a client that does not read its results should not send outcomes.
	resultsSize = 64
	// maxWaiting is how many bytes of outcomes and extensions wait to be settled, and how
	// many of results to be sent.
	maxWaiting = 1 << 20
	// resultWeight is about how many times as much memory as on its way a result takes.
	resultWeight = 3
	// openTimeout is how long a client may take to say what its stream is for.
	openTimeout = 10 * time.Second
)

// subscription is one stream. Three goroutines work on it: the receiver reads,
// the settler, once there is something to settle, has outcomes and extensions carried
// out, and the sender, alone, writes. The goroutine of the call itself watches over
// them: only its return frees a sender whose client does not read.
type subscription struct {
	s   *Server
	rpc retryv1.RetryService_SubscribeServer
	ctx context.Context

	// opened gets what the client opened the stream with; begun is closed once
	// it has been subscribed to.
	opened chan *retryv1.Open
	begun  chan struct{}
	// namespace and sub are set before begun is closed. sub is nil for one who
	// observes; shown gets what there is to see then.
	namespace string
	sub       *scheduler.Subscription
	shown     chan scheduler.Delivery
	// unobserve ends the observing; observed is closed when it has ended.
	unobserve context.CancelFunc
	observed  chan struct{}

	// inbox goes from the receiver to the settler, results from the settler to
	// the sender. Each is closed by the one who writes to it; where there has been
	// nothing to settle, results is closed by the receiver.
	inbox   chan *retryv1.SubscribeRequest
	results chan *retryv1.SubscribeResponse
	settler sync.Once
	// unsettled counts the bytes of what is in the inbox or being settled, unsent
	// of what is in results or being sent.
	unsettled, unsent budget
	// receiveErr is why the receiver ended, set before inbox is closed, and
	// settleErr why the settler did, set before results is closed.
	receiveErr, settleErr error

	// blocked fires when a Send takes too long.
	blocked *time.Timer
	// session is the caller's, nil where nobody was asked who calls.
	session *access.Session
	// over is closed when the stream has come to its end.
	over chan struct{}
}

// Subscribe hands attempts out and takes their outcomes.
func (h *retryService) Subscribe(rpc retryv1.RetryService_SubscribeServer) error {
	st := &subscription{
		s:         h.s,
		rpc:       rpc,
		ctx:       rpc.Context(),
		opened:    make(chan *retryv1.Open, 1),
		begun:     make(chan struct{}),
		unobserve: func() {},
		inbox:     make(chan *retryv1.SubscribeRequest, inboxSize),
		results:   make(chan *retryv1.SubscribeResponse, resultsSize),
		unsettled: newBudget(connOf(rpc.Context()), 1),
		unsent:    newBudget(connOf(rpc.Context()), resultWeight),
		blocked:   time.NewTimer(h.s.cfg.SendTimeout),
		session:   access.SessionOf(rpc.Context()),
		over:      make(chan struct{}),
	}
	st.blocked.Stop()
	h.s.streams.Go(func() {
		st.receiveErr = h.s.guarded(st.ctx, st.receive)
		close(st.inbox)
		st.settler.Do(func() { close(st.results) })
	})
	unopened := time.NewTimer(openTimeout)
	defer unopened.Stop()
	select {
	case open := <-st.opened:
		unopened.Stop()
		leave, err := h.s.sched.EnterStream(st.ctx, new(checker).namespace(open.GetNamespace()))
		if err != nil {
			close(st.over)
			return err
		}
		defer leave()
		return st.run(open)
	case <-st.inbox:
		return st.unopened()
	case <-unopened.C:
		close(st.over)
		return missingOpen()
	case <-h.s.sched.Draining():
		close(st.over)
		return goingAway()
	case <-st.session.Lapsed():
		close(st.over)
		return st.session.Err()
	}
}

// unopened is how a stream ends that was never opened.
func (st *subscription) unopened() error {
	if errors.Is(st.receiveErr, io.EOF) {
		return missingOpen()
	}
	return st.receiveErr
}

func missingOpen() error {
	return invalidRequest("open", "is missing; it must be the first message, within 10 s")
}

func invalidRequest(field, description string) error {
	var c checker
	c.violations = []policy.Violation{{Field: field, Description: description}}
	return c.err()
}

// run serves an opened stream to its end.
func (st *subscription) run(open *retryv1.Open) error {
	st.begin(open)
	close(st.begun)
	sent := make(chan error, 1)
	st.s.streams.Go(func() { sent <- st.s.guarded(st.ctx, st.send) })
	var err error
	select {
	case err = <-sent:
	case <-st.blocked.C:
		st.s.counters.slowConsumers.Add(1)
		err = slowConsumer(st.s.cfg.SendTimeout)
	}
	close(st.over)
	st.leave()
	return err
}

// startSettler has what the inbox brings settled. The settler may outlive the call:
// what the client has sent is carried out, though it will not learn of it.
func (st *subscription) startSettler() {
	st.settler.Do(func() {
		st.s.streams.Go(func() {
			defer close(st.results)
			st.settleErr = st.s.guarded(st.ctx, st.settle)
		})
	})
}

// begin subscribes to what was asked for.
func (st *subscription) begin(open *retryv1.Open) {
	var c checker
	opts := c.open(open)
	st.namespace = opts.Namespace
	if !open.GetObserve() {
		st.sub = st.s.sched.Subscribe(opts)
		return
	}
	ctx, cancel := context.WithCancel(st.ctx)
	st.unobserve = cancel
	st.shown, st.observed = make(chan scheduler.Delivery), make(chan struct{})
	st.s.streams.Go(func() {
		defer close(st.observed)
		err := st.s.guarded(ctx, func() error {
			return st.s.sched.Observe(ctx, opts.Namespace, opts.Queues, func(d scheduler.Delivery) error {
				select {
				case st.shown <- d:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		if err != nil && ctx.Err() == nil {
			st.s.log.WarnContext(ctx, "an observer sees nothing more", "error", err)
		}
	})
}

// leave ends the handing out on this stream: what nobody has taken yet is given
// back. It may be called again.
func (st *subscription) leave() {
	if st.sub == nil {
		st.unobserve()
		<-st.observed
		return
	}
	ctx, cancel := detached(st.ctx)
	defer cancel()
	if err := st.s.guarded(ctx, func() error { return st.sub.Close(ctx) }); err != nil {
		st.s.log.WarnContext(ctx, "attempts of a stream that has ended could not be given back; their leases will expire", "error", err)
	}
}
