package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// account is of what is kept for a connection: of messages that have come by it and have
// no end yet, and of those of its streams that wait to be settled or to be sent.
type account struct {
	mu sync.Mutex
	// awaited are the calls and streams of which more is to come.
	awaited int
	// bytes is how much has come, tiny in how many frames that hold next to nothing,
	// at most.
	bytes, tiny int
	// kept is what is kept for its streams.
	kept   int
	closed bool
}

// add changes the account of a connection, and with it the sum of all.
func (c *boundedConn) add(awaited, bytes, tiny int) {
	if c == nil {
		return
	}
	a := &c.account
	a.mu.Lock()
	defer a.mu.Unlock()
	defer c.sum()
	a.awaited += awaited
	a.bytes = max(a.bytes+bytes, 0)
	if a.closed || awaited < 0 && a.awaited == 0 {
		// What is left are the beginnings of messages that will have no end.
		a.bytes = 0
	}
	// There is something in each of them.
	a.tiny = min(max(a.tiny+tiny, 0), a.bytes)
}

// keep changes what is kept for the connection's streams, and has some connections closed
// when all hold too much.
func (c *boundedConn) keep(bytes int) {
	if c == nil {
		return
	}
	a := &c.account
	a.mu.Lock()
	a.kept += bytes
	c.sum()
	a.mu.Unlock()
	if bytes > 0 {
		c.from.relieve()
	}
}

// sum brings the sum of all in step with the account. Callers hold its mutex.
func (c *boundedConn) sum() {
	a := &c.account
	held := int64(a.bytes + a.tiny*tinyFrame + a.kept)
	if a.closed {
		// What is still kept goes soon, and by then nobody else is to be closed for it.
		held = 0
	}
	c.from.unfinished.Add(held - c.held.Swap(held))
}

// settle holds nothing any more, whatever a read beside it still brings.
func (c *boundedConn) settle() {
	c.account.mu.Lock()
	c.account.closed = true
	c.account.mu.Unlock()
	c.add(0, 0, 0)
}

// countedStream is a call, or a stream, of a connection that is watched over,
// which it need not have.
type countedStream struct {
	grpc.ServerStream
	conn *boundedConn
	// single says that one message is to come, and come that it has.
	single, come bool
	// in is the message that is being received.
	in arrival
	// leave gives back the room that a batch has got, nil while it has none, and late is why
	// it got none, after it had waited for its turn.
	leave func()
	late  error
	// refused says that gRPC has ended it, since what came could not be taken.
	refused atomic.Bool
}

// begin begins to watch over a call, whose end has to be called.
func begin(stream grpc.ServerStream, single bool) *countedStream {
	s := &countedStream{ServerStream: stream, conn: connOf(stream.Context()), single: single}
	s.conn.add(1, 0, 0)
	return s
}

// RecvMsg receives a message.
func (s *countedStream) RecvMsg(m any) error {
	if s.conn == nil {
		return s.ServerStream.RecvMsg(m) //nolint:wrapcheck // it is gRPC's own status
	}
	s.in.msg, s.in.admit = m, s.admit
	err := s.ServerStream.RecvMsg(&s.in)
	if s.late != nil {
		err = status.FromContextError(s.Context().Err()).Err()
	}
	over := 0
	if err == nil && s.single && !s.come {
		s.come, over = true, -1
	}
	if err == nil || s.in.bytes > 0 {
		// It came in one frame at least.
		s.conn.add(over, -s.in.bytes, -1)
		s.conn.host.pace.pay(1)
	}
	s.conn.charge(int64(unreadable(err, &s.in) / bytesToFrame))
	s.in = arrival{}
	if err != nil && !errors.Is(err, io.EOF) && status.Code(err) != codes.Canceled {
		s.refused.Store(true)
	}
	return err //nolint:wrapcheck // it is gRPC's own status
}

// admit waits until a batch of up to so many reports may be decoded. They take a hundred
// times the memory that they have taken on their way, and their answers do.
func (s *countedStream) admit(reports int) error {
	s.leave, s.late = s.conn.enter(s.Context(), reports)
	return s.late
}

// unreadable is how many bytes came for nothing: of a message that is too long, has no end
// or a flag that means nothing, is no message of its kind, or of too many parts.
func unreadable(err error, in *arrival) int {
	code := status.Code(err)
	switch {
	case code == codes.ResourceExhausted, code == codes.Internal && in.bytes == 0:
		// It never came to be decoded, which would have told its length.
		return in.bytes + windowBytes
	case code == codes.Internal, in.cut:
		return in.bytes
	default:
		return 0
	}
}

// SendMsg sends a message.
func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil && s.conn != nil {
		s.conn.host.pace.pay(answersToMessage)
	}
	return err //nolint:wrapcheck // it is gRPC's own status
}

// end ends the watch.
func (s *countedStream) end(ctx context.Context) {
	if s.conn == nil {
		return
	}
	if s.leave != nil {
		s.leave()
	}
	if !s.come {
		s.conn.add(-1, 0, 0)
	}
	// gRPC ends what it has refused just as if the client had taken it back. What ends
	// with its connection cannot be done over and over but by opening others.
	select {
	case <-s.conn.gone:
	default:
		if errors.Is(ctx.Err(), context.Canceled) && !s.refused.Load() {
			s.conn.charge(freeOfCall)
		}
	}
}
