package cli_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/retryd/retryd/internal/tlsfile"
)

// secured is a server that answers who asks for its health.
type secured struct {
	addr string
	// tokens are the authorizations of calls.
	tokens chan []string
}

func serveHealth(t *testing.T, creds credentials.TransportCredentials) *secured {
	t.Helper()
	s := &secured{tokens: make(chan []string, 10)}
	var listen net.ListenConfig
	lis, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = lis.Addr().String()
	srv := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			s.tokens <- metadata.ValueFromIncomingContext(ctx, "authorization")
			return handle(ctx, req)
		},
	))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// certificate is one for 127.0.0.1 that has signed itself, as files too.
func certificate(t *testing.T) (pair tls.Certificate, cert, key string) {
	t.Helper()
	// The one of net/http's own test server.
	web := httptest.NewTLSServer(nil)
	web.Close()
	pair = web.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pair, file(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))),
		file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func TestConnectionsAreSecuredAsAsked(t *testing.T) {
	t.Parallel()
	pair, cert, key := certificate(t)
	plain := serveHealth(t, insecure.NewCredentials())
	oneSided := serveHealth(t, credentials.NewServerTLSFromCert(&pair))
	mutual := serveHealth(t, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}))
	for _, c := range []struct {
		name   string
		server *secured
		args   []string
		code   int
		says   string
	}{
		{"in the clear", plain, nil, 0, "SERVING"},
		{"TLS that the server does not speak", plain, []string{"--tls"}, 5, "the server speaks no TLS"},
		{"in the clear to TLS", oneSided, nil, 5, "the server may want TLS: give --tls"},
		{"an authority that is not known", oneSided, []string{"--tls"}, 5, "name the authority that has signed"},
		{"another name", oneSided, []string{"--tls-ca", cert, "--tls-server-name=retryd.example.org"}, 5, "--tls-server-name"},
		{"TLS", oneSided, []string{"--tls-ca", cert}, 0, "SERVING"},
		{"a name in the certificate", oneSided, []string{"--tls-ca", cert, "--tls-server-name=example.com"}, 0, "SERVING"},
		{"no client certificate", mutual, []string{"--tls-ca", cert}, 5, "the server wants a client certificate"},
		{"a client certificate", mutual, []string{"--tls-ca", cert, "--tls-cert", cert, "--tls-key", key}, 0, "SERVING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			(&rig{t: t}).run(append([]string{"healthcheck", "--address", c.server.addr}, c.args...)...).wants(c.code).says(c.says)
		})
	}
}

// TestHealthcheckBesideAServer shows what becomes of one that shares the variables of a
// server's certificate, which is for servers alone.
func TestHealthcheckBesideAServer(t *testing.T) {
	t.Parallel()
	_, cert, key := certificate(t)
	serve := func(clientCA string) *secured {
		files := &tlsfile.Files{Cert: cert, Key: key, CA: clientCA}
		if _, err := files.Load(); err != nil {
			t.Fatal(err)
		}
		return serveHealth(t, credentials.NewTLS(files.Server()))
	}
	anonymous, mutual := serve(""), serve(cert)
	own := map[string]string{"RETRYD_TLS_CERT": cert, "RETRYD_TLS_KEY": key}
	trusting := maps.Clone(own)
	trusting["RETRYD_TLS_CA"] = cert
	elsewhere := maps.Clone(trusting)
	elsewhere["RETRYD_TLS_SERVER_NAME"] = "example.com"
	for _, c := range []struct {
		name   string
		server *secured
		env    map[string]string
		args   []string
		code   int
		says   string
	}{
		{"whose roots it is not told", anonymous, own, nil, 5, "name the authority that has signed"},
		{"without client certificates", anonymous, trusting, nil, 0, "SERVING"},
		{"with client certificates", mutual, trusting, nil, 0, "SERVING"},
		{"of another name", mutual, elsewhere, nil, 0, "SERVING"},
		{"to which it is told to show the certificate", mutual, trusting, []string{"--tls-cert", cert, "--tls-key", key}, 5, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, env: c.env}
			r.run(append([]string{"healthcheck", "--address", c.server.addr}, c.args...)...).wants(c.code).says(c.says)
		})
	}
}

func TestTheTokenIsSent(t *testing.T) {
	t.Parallel()
	server := serveHealth(t, insecure.NewCredentials())
	path := file(t, "token", "first\n")
	r := &rig{t: t, env: map[string]string{"RETRYD_TOKEN": "from-environment"}}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Bearer from-environment"},
		{[]string{"--token=given"}, "Bearer given"},
		{[]string{"--token-file", path}, "Bearer first"},
		{[]string{"--token-file", path}, "Bearer second"},
	} {
		r.run(append([]string{"healthcheck", "--address", server.addr}, c.args...)...).wants(0)
		if got := <-server.tokens; !slices.Equal(got, []string{c.want}) {
			t.Errorf("%v sends %q, want %q", c.args, got, c.want)
		}
		if c.want == "Bearer first" {
			if err := os.WriteFile(path, []byte("second"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
