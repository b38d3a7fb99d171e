package client_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/retryd/retryd/client"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// secured stands in for a server with TLS and access control, and for what its operators
// have given to a client: its address, the roots of its certificate, and a file with the
// token of a reporter.
func secured() (address string, roots *x509.CertPool, tokenFile string, closeAll func(), err error) {
	dir, err := os.MkdirTemp("", "retryd")
	if err != nil {
		return "", nil, "", nil, err
	}
	const token = "a-token-of-checkout"
	tokenFile, accessFile := filepath.Join(dir, "token"), filepath.Join(dir, "access.yaml")
	rules := fmt.Sprintf("tokens: [{name: checkout, sha256: %x}]\n", sha256.Sum256([]byte(token))) +
		"bindings: [{identity: \"token:checkout\", roles: [reporter], namespaces: [default]}]\n"
	err = errors.Join(os.WriteFile(tokenFile, []byte(token+"\n"), 0o600), os.WriteFile(accessFile, []byte(rules), 0o600))
	if err != nil {
		return "", nil, "", nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	control, err := access.New(access.Config{File: accessFile, Log: quiet})
	if err != nil {
		return "", nil, "", nil, err
	}
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: quiet})
	if err != nil {
		return "", nil, "", nil, err
	}
	// The certificate is that of net/http's own test server.
	web := httptest.NewTLSServer(nil)
	web.Close()
	srv, err := server.New(server.Config{
		Log: quiet, Access: control, Credentials: credentials.NewServerTLSFromCert(&web.TLS.Certificates[0]),
	}, sched)
	if err != nil {
		return "", nil, "", nil, err
	}
	var listen net.ListenConfig
	lis, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = sched.Run(ctx) })
	running.Go(func() { _ = srv.Run(ctx, lis) })
	roots = x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return lis.Addr().String(), roots, tokenFile, func() {
		cancel()
		running.Wait()
		_ = os.RemoveAll(dir)
	}, nil
}

// A client of a server with access control brings a token, which goes over TLS alone. The
// file is read for each call, so that a token that is renewed is taken up at once.
func ExampleWithToken() {
	address, roots, tokenFile, closeAll, err := secured()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeAll()

	c, err := client.New(address,
		client.WithTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}),
		client.WithToken(func(context.Context) (string, error) {
			token, err := os.ReadFile(tokenFile)
			return strings.TrimSpace(string(token)), err
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	done, err := c.ReportSuccess(context.Background(), client.Task{ID: "order-42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(done.TaskID, "took", done.Attempts, "attempt")
	// Output: order-42 took 1 attempt
}
