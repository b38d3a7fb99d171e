package hostile_test

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// nasty are texts that somebody may put where a name or a key belongs.
var nasty = []string{
	"\x00" + secret,
	secret + "\r\nlevel=ERROR msg=forged",
	"{" + secret + "}:retryd:due",
	strings.Repeat(secret, 20_000),
	secret + "\xff\xfe",
	"\u202e" + secret,
}

// malformedRequests puts nasty texts and noise into every field of every call,
// and wants each refused with a code, a reason and no word of a bug.
func malformedRequests(ctx context.Context, a *assailant) error {
	conn, err := a.dial(grpc.WithDefaultCallOptions(grpc.ForceCodec(asIs{})))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	files := []protoreflect.FileDescriptor{
		retryv1.File_retry_v1_retry_service_proto, retryv1.File_retry_v1_policy_service_proto, retryv1.File_retry_v1_job_service_proto,
		retryv1.File_retry_v1_task_service_proto, retryv1.File_retry_v1_queue_service_proto, retryv1.File_retry_v1_group_service_proto,
	}
	for round := 0; ctx.Err() == nil; round++ {
		text := nasty[round%len(nasty)]
		for _, file := range files {
			for i := range file.Services().Len() {
				service := file.Services().Get(i)
				for j := range service.Methods().Len() {
					method := service.Methods().Get(j)
					if method.IsStreamingClient() {
						continue
					}
					name := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
					for _, body := range bodiesOf(method.Input(), text) {
						if err := a.malformed(ctx, conn, name, body); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// malformed makes one call and judges what it is told.
func (a *assailant) malformed(ctx context.Context, conn *grpc.ClientConn, method string, body []byte) error {
	var reply []byte
	err := conn.Invoke(ctx, method, body, &reply)
	if ended(ctx, err) {
		return nil
	}
	a.sawStatus(err)
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	undecodable := s.Code() == codes.Internal && strings.Contains(s.Message(), "failed to unmarshal")
	tooLarge := s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max")
	if undecodable || tooLarge {
		return nil
	}
	reason := ""
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			reason = info.GetReason()
		}
	}
	if reason == "" || reason == "INTERNAL" {
		return fmt.Errorf("%s with %.100q: reason %q: %w", method, body, reason, err)
	}
	return nil
}

// bodiesOf are requests with a text in each field in turn and, down to some
// depth, in the fields of its messages; then in all of them; and noise.
func bodiesOf(m protoreflect.MessageDescriptor, text string) [][]byte {
	bodies := fieldsOf(m, text, 4)
	var all []byte
	for _, b := range bodies {
		if len(all)+len(b) < 500_000 {
			all = append(all, b...)
		}
	}
	return append(bodies, all, []byte(text), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), all[:len(all)/2])
}

func fieldsOf(m protoreflect.MessageDescriptor, text string, depth int) [][]byte {
	var bodies [][]byte
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		switch f.Kind() {
		case protoreflect.StringKind, protoreflect.BytesKind:
			bodies = append(bodies, protowire.AppendString(protowire.AppendTag(nil, f.Number(), protowire.BytesType), text))
		case protoreflect.MessageKind:
			if depth == 0 {
				continue
			}
			for _, inner := range fieldsOf(f.Message(), text, depth-1) {
				bodies = append(bodies, protowire.AppendBytes(protowire.AppendTag(nil, f.Number(), protowire.BytesType), inner))
			}
		default:
			bodies = append(bodies, protowire.AppendVarint(protowire.AppendTag(nil, f.Number(), protowire.VarintType), 1<<63))
		}
	}
	return bodies
}
