package server

import (
	"runtime"

	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

const (
	// prefixBytes is what gRPC puts in front of each message.
	prefixBytes = 5
	// largeMessage is how long a message is of which few are decoded at once.
	largeMessage = 32 << 10
	// reportsField is the number of BatchReportRequest.reports.
	reportsField = 2
)

// arrival is a message that is to be received. The codec knows what to do with it.
type arrival struct {
	msg any
	// bytes is how many the message was when it came, which it need not be when it
	// is encoded again.
	bytes int
	// cut says that it was not decoded to its end.
	cut bool
	// admit, where it is set, waits until so many reports may be decoded.
	admit func(reports int) error
}

// codec is gRPC's own, but that it tells an arrival how long its message was, and
// decodes of a batch no more reports than show that there are too many: an empty
// one takes 2 bytes on its way and fifty in memory.
type codec struct {
	encoding.CodecV2
	// decoding has something in it for each large message that is being decoded.
	decoding chan struct{}
}

func newCodec() codec {
	return codec{encoding.GetCodecV2(encodingproto.Name), make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
}

// Unmarshal decodes data into v, which is a message or an arrival of one.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*arrival)
	if ok {
		in.bytes += prefixBytes + data.Len()
		v = in.msg
	}
	batch, ok := v.(*retryv1.BatchReportRequest)
	if ok && in != nil && in.admit != nil {
		if err := in.admit(min(data.Len()/2, maxBatch)); err != nil {
			return err
		}
	}
	if data.Len() >= largeMessage {
		// Each takes a buffer of its own, of up to 1 MiB, and they may come by the thousand.
		c.decoding <- struct{}{}
		defer func() { <-c.decoding }()
	}
	if !ok || data.Len() <= 2*maxBatch {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	body := cutBatch(buf.ReadOnlyData())
	if in != nil {
		in.cut = len(body) < data.Len()
	}
	return proto.Unmarshal(body, batch)
}

// cutBatch cuts an encoded batch behind the first report that is too many.
func cutBatch(body []byte) []byte {
	reports := 0
	for at := 0; at < len(body); {
		number, kind, n := protowire.ConsumeField(body[at:])
		if n < 0 {
			return body // the decoder says what is wrong with it
		}
		at += n
		// Of another kind it is nothing that the decoder knows.
		if number == reportsField && kind == protowire.BytesType {
			if reports++; reports > maxBatch {
				return body[:at]
			}
		}
	}
	return body
}
