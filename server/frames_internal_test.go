package server

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// TestFrames reads what a client may send, cut at every place.
func TestFrames(t *testing.T) {
	t.Parallel()
	var sent bytes.Buffer
	sent.WriteString(http2.ClientPreface)
	out := http2.NewFramer(&sent, nil)
	long := make([]byte, 1<<14)
	for _, err := range []error{
		out.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14}),
		out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: long, EndHeaders: true}),
		out.WriteData(1, false, long),
		out.WritePing(false, [8]byte{}),
		out.WriteData(1, false, []byte{1, 2, 3}),
		out.WriteWindowUpdate(0, 1),
		out.WriteData(1, true, nil),
		out.WriteData(3, true, make([]byte, tinyFrame)),
		out.WriteData(5, true, make([]byte, tinyFrame-1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const want, wantTiny = 1<<14 + 3 + tinyFrame + tinyFrame - 1, 2
	for _, size := range []int{1, 2, 7, 8, 9, 10, 100, sent.Len()} {
		f := newFrames()
		var got, gotTiny int
		for p := sent.Bytes(); len(p) > 0; {
			n := min(size, len(p))
			bytes, tiny := f.read(p[:n])
			got, gotTiny = got+bytes, gotTiny+tiny
			p = p[n:]
		}
		if got != want || gotTiny != wantTiny {
			t.Errorf("read %d bytes at a time: %d bytes of messages, %d tiny frames; want %d and %d", size, got, gotTiny, want, wantTiny)
		}
	}
}
