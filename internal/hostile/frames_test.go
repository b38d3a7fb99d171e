package hostile_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func frameAttacks() []attack {
	flood := func(frame func(c *raw) error) func(context.Context, *assailant) error {
		return func(ctx context.Context, a *assailant) error { return a.flood(ctx, frame) }
	}
	return []attack{
		{name: "pings", run: flood(func(c *raw) error { return c.frames.WritePing(false, [8]byte{}) })},
		{name: "settings", run: flood(func(c *raw) error { return c.frames.WriteSettings() })},
		{name: "window updates", run: flood(func(c *raw) error { return c.frames.WriteWindowUpdate(0, 1) })},
		{name: "resets", run: flood(reset(retryv1.RetryService_Subscribe_FullMethodName))},
		{name: "resets of calls", run: flood(reset(retryv1.TaskService_GetTask_FullMethodName))},
		{name: "huge headers", run: flood(hugeHeaders)},
		{name: "headers without end", run: flood(endlessHeaders())},
		{name: "noise", run: flood(func(c *raw) error {
			_, err := c.Write(bytes.Repeat([]byte(secret), 1000))
			return err
		})},
		{name: "bodies in frames of one byte", run: flood(tinyFrames(1))},
		{name: "bodies in frames of 32 bytes", run: flood(tinyFrames(32))},
	}
}

// flood writes the same to four connections for as long as it is let, and opens
// another for one that is closed.
func (a *assailant) flood(ctx context.Context, frame func(c *raw) error) error {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				a.floodOnce(ctx, frame)
			}
		})
	}
	wg.Wait()
	return nil
}

func (a *assailant) floodOnce(ctx context.Context, frame func(c *raw) error) {
	c, done, err := a.raw(ctx)
	if err != nil {
		a.saw(1, "connections refused")
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	for n := 1; ; n++ {
		if err := c.write(func() error { return frame(c) }); err != nil {
			a.saw(n, "sent")
			break
		}
	}
	_ = c.Close()
	<-done
}

// reset begins a call and takes it back at once.
func reset(method string) func(c *raw) error {
	return func(c *raw) error {
		id := c.next
		c.next += 2
		if err := c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers(method), EndHeaders: true}); err != nil {
			return err
		}
		return c.frames.WriteRSTStream(id, http2.ErrCodeCancel)
	}
}

// tinyFrames begins a call whose message never ends, and comes in frames of which
// each takes far more time and memory than what is in it.
func tinyFrames(each int) func(c *raw) error {
	const size, most = 500_000, 60_000 // that much may come before the server asks for more
	return func(c *raw) error {
		id := c.next
		c.next += 2
		var sent bytes.Buffer
		out := http2.NewFramer(&sent, nil)
		err := out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers(retryv1.RetryService_BatchReport_FullMethodName), EndHeaders: true})
		if err == nil {
			err = out.WriteData(id, false, binary.BigEndian.AppendUint32([]byte{0}, size))
		}
		for n := 0; err == nil && n < most; n += each {
			err = out.WriteData(id, false, make([]byte, each))
		}
		if err == nil {
			_, err = c.Write(sent.Bytes())
		}
		return err
	}
}

// hugeHeaders begins a call with 1 MiB of headers.
func hugeHeaders(c *raw) error {
	id := c.next
	c.next += 2
	block := c.headers(retryv1.TaskService_GetTask_FullMethodName, hpack.HeaderField{Name: "x-huge", Value: strings.Repeat(secret, 1<<20/len(secret)), Sensitive: true})
	const most = 16 << 10
	if err := c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:most]}); err != nil {
		return err
	}
	for block = block[most:]; len(block) > 0; block = block[min(most, len(block)):] {
		if err := c.frames.WriteContinuation(id, len(block) <= most, block[:min(most, len(block))]); err != nil {
			return err
		}
	}
	return nil
}

// endlessHeaders begins a call whose headers never end.
func endlessHeaders() func(c *raw) error {
	return func(c *raw) error {
		if c.next == 1 {
			c.next += 2
			return c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(retryv1.TaskService_GetTask_FullMethodName)})
		}
		c.next++
		c.block.Reset()
		_ = c.enc.WriteField(hpack.HeaderField{Name: "x-" + strconv.Itoa(int(c.next)), Value: secret})
		return c.frames.WriteContinuation(1, false, c.block.Bytes())
	}
}
