package server

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// sender is what the one goroutine that writes to a stream knows. A nil channel
// is one that nothing more comes from.
type sender struct {
	*subscription
	conn    *boundedConn
	results <-chan *retryv1.SubscribeResponse
	ready   <-chan struct{}
	shown   <-chan scheduler.Delivery
	// stopping is closed when the server drains; aged fires when the connection
	// is about to.
	stopping <-chan struct{}
	aged     *time.Timer
	// lapsed is closed when the caller may not go on.
	lapsed <-chan struct{}
	// expired fires when the client has had its time to leave; it is stopped
	// until the stream drains.
	expired    *time.Timer
	drained    bool
	halfClosed bool
}

// send writes results and attempts until the stream ends, and says how.
func (st *subscription) send() error {
	s := &sender{
		subscription: st,
		conn:         connOf(st.ctx),
		results:      st.results,
		shown:        st.shown,
		stopping:     st.s.sched.Draining(),
		aged:         time.NewTimer(drainAfter(connOf(st.ctx).age(), st.s.cfg.MaxConnectionAge)),
		lapsed:       st.session.Lapsed(),
		expired:      time.NewTimer(time.Hour),
	}
	defer s.aged.Stop()
	s.expired.Stop()
	defer s.expired.Stop()
	if st.sub != nil {
		s.ready = st.sub.Ready()
	}
	for {
		if end, err := s.sendOne(); end {
			return err
		}
	}
}

// sendOne waits for something to send, and sends it.
func (s *sender) sendOne() (end bool, err error) {
	select {
	case <-s.over:
		return true, nil
	case <-s.ctx.Done():
		return true, s.ctx.Err()
	case <-s.expired.C:
		return true, s.session.Err()
	case result, ok := <-s.results:
		if !ok {
			return s.received()
		}
		err = s.write(result)
		s.unsent.free(proto.Size(result))
	case <-s.ready:
		// What was claimed before the credit was lowered is not sent any more.
		if surplus := s.sub.Surplus(); len(surplus) > 0 {
			s.s.giveBack(s.ctx, surplus...)
		}
		if d, ok := s.sub.Next(); ok {
			err = s.deliver(d)
		}
	case d := <-s.shown:
		err = s.write(attempt(wire.ObservedAttempt(&d)))
	case <-s.stopping:
		// The results of what the client still sends have the rest of the time.
		s.stopping = nil
		s.expired.Reset(s.s.cfg.DrainTimeout * 4 / 5)
		err = s.drain()
		end = s.halfClosed
	case <-s.aged.C:
		s.expired.Reset(s.s.cfg.ConnectionAgeGrace)
		err = s.drain()
		end = s.halfClosed
	case <-s.lapsed:
		// What it works on it may still settle, if it is quick.
		s.lapsed = nil
		s.expired.Reset(lapseGrace)
		if err = s.drain(); err == nil && s.halfClosed {
			err = s.session.Err()
		}
	}
	return end || err != nil, err
}

// received is reached when the client will send nothing more, and all it has
// sent is answered.
func (s *sender) received() (end bool, err error) {
	select {
	case <-s.over:
		return true, nil
	default:
	}
	switch {
	case s.settleErr != nil:
		return true, s.settleErr
	case !errors.Is(s.receiveErr, io.EOF):
		return true, s.receiveErr
	}
	// It has closed its side only, and goes on reading until the server drains.
	s.results, s.halfClosed = nil, true
	return s.drained, nil
}

// deliver writes an attempt. Up to the moment of the write it can be given back.
func (s *sender) deliver(d scheduler.Delivery) error {
	begun := false
	defer func() {
		if !begun {
			s.s.giveBack(s.ctx, d)
		}
	}()
	if err := s.ctx.Err(); err != nil {
		return err
	}
	a := wire.Attempt(&d)
	s.s.traceHandOut(s.ctx, d.Task, a)
	begun = true
	// It is there twice, as a message and on its way.
	kept := 2 * int(d.Task.Spec.Bytes())
	s.conn.keep(kept)
	defer s.conn.keep(-kept)
	return s.write(attempt(a))
}

// drain sends no more attempts from here on and tells the client so.
func (s *sender) drain() error {
	if s.drained {
		return nil
	}
	s.drained = true
	s.ready, s.shown = nil, nil
	s.leave()
	return s.write(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_Drain{Drain: &retryv1.Drain{}}})
}

// write is the only place that calls Send.
func (s *sender) write(msg *retryv1.SubscribeResponse) error {
	s.blocked.Reset(s.s.cfg.SendTimeout)
	err := s.rpc.Send(msg)
	s.blocked.Stop()
	return err
}

func attempt(a *retryv1.Attempt) *retryv1.SubscribeResponse {
	return &retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_Attempt{Attempt: a}}
}

// drainAfter draws the moment at which a stream is told to leave, on a
// connection of that age: in the last sixth of the connection's time, so that
// workers move to other replicas one by one and not in a herd. A stream that
// opens too late for that still has a while, and leaves before the connection's
// grace has passed.
func drainAfter(age, maxAge time.Duration) time.Duration {
	first := maxAge * 5 / 6
	at := first + rand.N(maxAge-first+1)
	if least := maxAge / 30; at < age+least {
		return least + rand.N(3*least+1)
	}
	return at - age
}
