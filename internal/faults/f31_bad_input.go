package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// badInput sends what no client of ours would, under load. How much of it a server
// bears, and from how many, is for internal/hostile to show; here it is that each is
// refused in kind, and leaves nothing behind.
var badInput = Fault{
	ID: "F31", Name: "bad protobuf, bad UTF-8, 5 MB body, gzip bomb, deep nesting, NUL/CRLF/huge keys", Topologies: []Topology{Standalone}, Short: true,
	Run: func(ctx context.Context, w *World) (Figures, error) {
		if err := w.StartLoad(ctx, Load{}); err != nil {
			return nil, err
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		inputs := badInputs()
		began := time.Now()
		sent := 0
		for time.Since(began) < w.Between(30*time.Second, 5*time.Second) {
			var wg sync.WaitGroup
			errs := make([]error, len(w.Servers))
			for i, s := range w.Servers {
				wg.Go(func() { errs[i] = w.sendBad(ctx, s, inputs) })
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				return nil, err
			}
			sent += len(inputs) * len(w.Servers)
		}
		if err := w.Steady(ctx); err != nil {
			return nil, err
		}
		var f Figures
		f.Add("kinds", len(inputs))
		f.Add("sent and refused", sent)
		peak := int64(0)
		for _, s := range w.Servers {
			most, err := memory(s.PID(), "VmHWM")
			if err != nil {
				return nil, err
			}
			peak = max(peak, most)
		}
		f.Add("memory at most", fmt.Sprintf("%d MiB", peak>>20))
		const most = 512 << 20
		if peak > most {
			w.Broken("a server took %d MiB, want at most %d", peak>>20, most>>20)
		}
		w.lateness(&f, began)
		return f, nil
	},
}

// badRequest is a body that must be refused.
type badRequest struct {
	name   string
	method string
	body   []byte
	opts   []grpc.CallOption
	// want are the codes with which it may be refused; reason is set where the server
	// itself refuses it, and not gRPC.
	want   []codes.Code
	reason string
}

// badInputs are all there are. Each has the secret in it where it has a text at all, but
// not in an id, which answers may tell.
func badInputs() []badRequest {
	const megabytes = 1_000_000
	const depth = 100_000
	nested := append(bytes.Repeat(protowire.AppendTag(nil, 100, protowire.StartGroupType), depth),
		bytes.Repeat(protowire.AppendTag(nil, 100, protowire.EndGroupType), depth)...)
	report := retryv1.RetryService_ReportFailure_FullMethodName
	undecodable := []codes.Code{codes.Internal}
	out := []badRequest{
		{name: "bad protobuf", method: report, body: []byte("\xff\xff\xff\xff" + secret), want: undecodable},
		{name: "bad UTF-8", method: report, body: reportOf(secret+"\xff\xfe", ""), want: undecodable},
		{name: "a body of 5 MB", method: report, body: reportOf("id", strings.Repeat(secret, 5*megabytes/len(secret))), want: []codes.Code{codes.ResourceExhausted}},
		{name: "a gzip bomb", method: report, body: make([]byte, 20*megabytes), opts: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, want: []codes.Code{codes.Unimplemented}},
		{name: "deep nesting", method: report, body: nested, want: undecodable},
	}
	for name, id := range map[string]string{
		"NUL in an id": "\x00id", "CRLF in an id": "id\r\nlevel=ERROR msg=forged", "a huge id": strings.Repeat("id", 100_000),
	} {
		out = append(out, badRequest{name: name, method: report, body: reportOf(id, secret), want: []codes.Code{codes.InvalidArgument}, reason: "INVALID_REQUEST"})
	}
	for name, key := range map[string]string{
		"NUL in a key": "\x00" + secret, "CRLF in a key": secret + "\r\nlevel=ERROR msg=forged", "a huge key": strings.Repeat(secret, 10_000),
	} {
		out = append(out, badRequest{name: name, method: report, body: reportOf("id", key), want: []codes.Code{codes.InvalidArgument}, reason: "INVALID_REQUEST"})
	}
	return out
}

// reportOf encodes a report of a failure whose texts no generated code would take.
func reportOf(id, key string) []byte {
	fields := (&retryv1.ReportFailureRequest{}).ProtoReflect().Descriptor().Fields()
	task := fields.ByName("task")
	idField := task.Message().Fields().ByName("id")
	spec := protowire.AppendString(protowire.AppendTag(nil, idField.Number(), protowire.BytesType), id)
	body := protowire.AppendBytes(protowire.AppendTag(nil, task.Number(), protowire.BytesType), spec)
	if key != "" {
		body = protowire.AppendString(protowire.AppendTag(body, fields.ByName("idempotency_key").Number(), protowire.BytesType), key)
	}
	return body
}

// sendBad sends each of them to a server, and wants the answers to tell nothing of
// what was sent.
func (*World) sendBad(ctx context.Context, s *Server, inputs []badRequest) error {
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(asIs{})))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, in := range inputs {
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := conn.Invoke(ctx, in.method, in.body, new([]byte), in.opts...)
		cancel()
		if !slices.Contains(in.want, status.Code(err)) || client.ReasonOf(err) != in.reason {
			return fmt.Errorf("I11: %s is answered by %s in another way than by one of %v with reason %q: %w", in.name, s.name, in.want, in.reason, err)
		}
		// All of it counts, details included.
		answer, err := proto.Marshal(status.Convert(err).Proto())
		if err != nil {
			return err
		}
		if bytes.Contains(answer, []byte(secret)) {
			return fmt.Errorf("I11: the answer of %s to %s tells what was sent: %q", s.name, in.name, answer)
		}
	}
	return nil
}

// asIs is a codec whose messages are the bytes themselves.
type asIs struct{}

func (asIs) Name() string { return "proto" }

func (asIs) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", v)
	}
	return b, nil
}

func (asIs) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not bytes", v)
	}
	*b = slices.Clone(data)
	return nil
}
