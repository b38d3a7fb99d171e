package server

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
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
		msg, err := st.rpc.Recv()
		if err != nil {
			return err
		}
		switch m := msg.GetMessage().(type) {
		case *retryv1.SubscribeRequest_Outcome, *retryv1.SubscribeRequest_Extend:
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
	st.paused.Store(credit == 0)
	st.sub.SetMaxInFlight(credit)
}
