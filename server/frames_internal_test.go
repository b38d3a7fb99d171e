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
		out.WriteData(7, false, nil),
		out.WriteData(7, false, make([]byte, crumb-1)),
		out.WriteData(7, false, make([]byte, crumb)),
		// Padding is nothing that is in a frame.
		out.WriteDataPadded(7, false, make([]byte, crumb-1), make([]byte, 255)),
		out.WriteDataPadded(7, false, make([]byte, crumb), make([]byte, 255)),
		out.WriteDataPadded(7, true, make([]byte, 1), make([]byte, 255)),
		out.WriteData(9, true, make([]byte, 1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const (
		want = 1<<14 + 3 + tinyFrame + tinyFrame - 1 + crumb - 1 + crumb +
			(1 + crumb - 1 + 255) + (1 + crumb + 255) + (1 + 1 + 255) + 1
		wantTiny = 3
		// Four of messages, and the frames that are none of a message.
		wantCrumbs = 4 + 3
	)
	for _, size := range []int{1, 2, 7, 8, 9, 10, 100, sent.Len()} {
		f := newFrames()
		var got, gotTiny, gotCrumbs, gotCalls int
		for p := sent.Bytes(); len(p) > 0; {
			n := min(size, len(p))
			bytes, tiny, crumbs, calls := f.read(p[:n])
			got, gotTiny, gotCrumbs, gotCalls = got+bytes, gotTiny+tiny, gotCrumbs+crumbs, gotCalls+calls
			p = p[n:]
		}
		if got != want || gotTiny != wantTiny || gotCrumbs != wantCrumbs || gotCalls != 1 {
			t.Errorf("read %d bytes at a time: %d bytes of messages, %d tiny frames, %d crumbs, %d calls; want %d, %d, %d and 1",
				size, got, gotTiny, gotCrumbs, gotCalls, want, wantTiny, wantCrumbs)
		}
	}
}
