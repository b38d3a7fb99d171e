package server

import (
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server/wire"
)

// receive reads what the client sends until it closes its side (io.EOF), says
// something that ends the stream, or the stream is over. It says why.
func (st *subscription) receive() error {
	msg, err := st.rpc.Recv()
	if err != nil {
		return err
	}
	if msg.GetOpen() == nil {
		return missingOpen()
	}
	var c checker
	c.open(msg.GetOpen())
	if err := c.err(); err != nil {
		return err
	}
	st.opened <- msg.GetOpen()
	select {
	case <-st.begun:
	case <-st.over:
		return nil
	}
	for {
		if !st.unsettled.wait(st.over) {
			return nil
		}
		msg, err := st.rpc.Recv()
		if err != nil {
			return err
		}
		switch m := msg.GetMessage().(type) {
		case *retryv1.SubscribeRequest_Outcome, *retryv1.SubscribeRequest_Extend:
			trim(msg)
			st.unsettled.take(heldBy(msg))
			st.startSettler()
			select {
			case st.inbox <- msg:
			case <-st.over:
				return nil
			}
		case *retryv1.SubscribeRequest_Flow:
			var c checker
			c.flow(m.Flow)
			if err := c.err(); err != nil {
				return err
			}
			st.flow(int(m.Flow.GetMaxInFlight()))
		case *retryv1.SubscribeRequest_Open:
			return invalidRequest("open", "comes a second time; allowed: once, as the first message")
		default:
			return invalidRequest("message", "is missing; one of outcome, extend and flow must be set")
		}
	}
}

// flow changes the credit. An observer has none to change.
func (st *subscription) flow(credit int) {
	if st.sub == nil {
		return
	}
	st.sub.SetMaxInFlight(credit)
}

// trim takes from a message what is not kept in any case, so that it does not lie
// in the inbox.
func trim(msg *retryv1.SubscribeRequest) {
	switch m := msg.GetMessage().(type) {
	case *retryv1.SubscribeRequest_Outcome:
		if m.Outcome == nil {
			return
		}
		m.Outcome.LeaseToken = cutToken(m.Outcome.GetLeaseToken())
		trace := wire.TraceContext(m.Outcome.GetTraceparent(), m.Outcome.GetTracestate())
		m.Outcome.Traceparent, m.Outcome.Tracestate = trace.Parent, trace.State
		if s := m.Outcome.GetSuccess(); s != nil {
			s.Message = wire.CutMessage(s.GetMessage())
		}
		if f := m.Outcome.GetFailure(); f != nil {
			f.Message = wire.CutMessage(f.GetMessage())
		}
	case *retryv1.SubscribeRequest_Extend:
		tokens := m.Extend.GetLeaseTokens()
		for i := range tokens {
			tokens[i] = cutToken(tokens[i])
		}
	}
}

// heldBy is how much memory a message takes while it waits, more or less: a token
// may be shorter than what refers to it.
func heldBy(msg *retryv1.SubscribeRequest) int {
	const perToken = 24
	return proto.Size(msg) + perToken*len(msg.GetExtend().GetLeaseTokens())
}
