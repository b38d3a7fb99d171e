package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a connection on which frames are written as they come to mind.
type raw struct {
	net.Conn
	frames *http2.Framer
	mu     sync.Mutex
	block  bytes.Buffer
	enc    *hpack.Encoder
	// next is the id of the next stream.
	next uint32
}

// raw opens a connection and sends the preface and its settings. What comes back
// is counted by kind until the connection ends; done is closed then.
func (a *assailant) raw(ctx context.Context) (c *raw, done <-chan struct{}, err error) {
	conn, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	c = &raw{Conn: conn, frames: http2.NewFramer(conn, conn), next: 1}
	c.enc = hpack.NewEncoder(&c.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if err := c.frames.WriteSettings(); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.readFrames(c)
	}()
	return c, ended, nil
}

// readFrames counts what ends streams and the connection.
func (a *assailant) readFrames(c *raw) {
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := c.frames.ReadFrame()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				a.saw(1, "connections closed")
			}
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.write(func() error { return c.frames.WriteSettingsAck() })
			}
		case *http2.GoAwayFrame:
			a.saw(1, "GOAWAY %s %q", f.ErrCode, f.DebugData())
		case *http2.RSTStreamFrame:
			a.saw(1, "RST_STREAM %s", f.ErrCode)
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					a.saw(1, "grpc-status %s", h.Value)
				}
			}
		}
	}
}

func (c *raw) write(frame func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return frame()
}

// headers are those of a call of a method.
func (c *raw) headers(method string, more ...hpack.HeaderField) []byte {
	c.block.Reset()
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method},
		{Name: ":authority", Value: "retryd"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}, more...) {
		// It is a buffer in memory.
		_ = c.enc.WriteField(h)
	}
	return c.block.Bytes()
}

// open begins a call.
func (c *raw) open(method string) error {
	return c.write(func() error {
		id := c.next
		c.next += 2
		return c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers(method), EndHeaders: true})
	})
}
