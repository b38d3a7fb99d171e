package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// infoServer tells what authorization its callers send.
type infoServer struct {
	retryv1.UnimplementedServerServiceServer
	got chan []string
}

func (s *infoServer) GetServerInfo(ctx context.Context, _ *retryv1.GetServerInfoRequest) (*retryv1.GetServerInfoResponse, error) {
	s.got <- metadata.ValueFromIncomingContext(ctx, "authorization")
	return &retryv1.GetServerInfoResponse{}, nil
}

func TestWithTokenIsAskedForEachCall(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	lis, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fake := &infoServer{got: make(chan []string, 1)}
	srv := grpc.NewServer()
	retryv1.RegisterServerServiceServer(srv, fake)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(lis) })
	t.Cleanup(func() { srv.Stop(); served.Wait() })

	next, fail := "first", error(nil)
	c, err := client.New(lis.Addr().String(), client.WithToken(func(context.Context) (string, error) { return next, fail }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, next = range []string{"first", "second"} {
		if _, err := c.ServerInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-fake.got; len(got) != 1 || got[0] != "Bearer "+next {
			t.Errorf("the call brought %q, want the token %s", got, next)
		}
	}
	fail = errors.New("the vault is shut")
	if _, err := c.ServerInfo(t.Context()); err == nil || !strings.Contains(err.Error(), "the vault is shut") {
		t.Errorf("a call without a token ended with %v, want the error of whoever brings it", err)
	}
}

func TestTokenNeedsTLS(t *testing.T) {
	t.Parallel()
	token := client.WithToken(func(context.Context) (string, error) { return "secret", nil })
	for _, row := range []struct {
		name, target string
		opts         []client.Option
		refused      bool
	}{
		{"in the clear to another machine", "retryd.example.com:7600", []client.Option{client.WithInsecure()}, true},
		{"in the clear to this one", "127.0.0.1:7600", []client.Option{client.WithInsecure()}, false},
		{"by default to this one", "localhost:7600", nil, false},
		{"by default to another", "retryd.example.com:7600", nil, false},
		{"by TLS", "retryd.example.com:7600", []client.Option{client.WithTLS(&tls.Config{MinVersion: tls.VersionTLS13})}, false},
		{"over a connection of the caller's", "", []client.Option{client.WithConn(&grpc.ClientConn{})}, true},
	} {
		c, err := client.New(row.target, append(row.opts, token)...)
		if (err != nil) != row.refused {
			t.Errorf("%s: %v, refused should be %t", row.name, err, row.refused)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}
