package redisstore_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redisproc"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/testcert"
	"github.com/retryd/retryd/internal/tlsfile"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// tlsRig is a CA, and the settings of Redis with a certificate of it.
type tlsRig struct {
	ca       *testcert.CA
	files    *tlsfile.Files
	settings []string
}

func newTLSRig(t *testing.T) *tlsRig {
	t.Helper()
	ca := testcert.NewCA(t)
	cert, key := ca.Issue(t.TempDir(), testcert.Names{CN: "redis"})
	own, ownKey := ca.Issue(t.TempDir(), testcert.Names{CN: "retryd"})
	files := &tlsfile.Files{CA: ca.File, Cert: own, Key: ownKey}
	if _, err := files.Load(); err != nil {
		t.Fatal(err)
	}
	return &tlsRig{ca, files, []string{
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.File, "--tls-auth-clients", "yes",
	}}
}

func (r *tlsRig) store(t *testing.T, url string, ask func() *tls.Config) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(redisstore.Config{URL: url, TLS: ask})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *tlsRig) own() *tls.Config { return r.files.Client("") }

// usable waits until a store can be used, as a server does.
func usable(t *testing.T, s *redisstore.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := s.Check(ctx)
	for ; err != nil && ctx.Err() == nil; err = s.Check(ctx) {
		<-time.After(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	r := newTLSRig(t)
	port := redistest.FreePort(t)
	server, err := redisproc.Start(t.Context(), append(r.settings, "--tls-port", port)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	url := "rediss://127.0.0.1:" + port
	usable(t, r.store(t, url, r.own))

	stranger := testcert.NewCA(t)
	for name, ask := range map[string]func() *tls.Config{
		"without a certificate": func() *tls.Config { return &tls.Config{RootCAs: r.ca.Pool(), MinVersion: tls.VersionTLS12} },
		"with a certificate of another CA": func() *tls.Config {
			return &tls.Config{RootCAs: r.ca.Pool(), Certificates: []tls.Certificate{stranger.Pair(testcert.Names{CN: "retryd"})}, MinVersion: tls.VersionTLS12}
		},
		"by the system's roots": nil,
		"by another CA": func() *tls.Config {
			cfg := r.own()
			cfg.RootCAs = stranger.Pool()
			return cfg
		},
		"by another name": func() *tls.Config { return r.files.Client("other.example.com") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := r.store(t, url, ask).Check(ctx); err == nil {
			t.Errorf("%s Redis can be used", name)
		}
		cancel()
	}
	if _, err := redisstore.New(redisstore.Config{URL: "redis://127.0.0.1:" + port, TLS: r.own}); err == nil || !strings.Contains(err.Error(), "rediss://") {
		t.Errorf("settings of TLS without TLS: %v", err)
	}
}

// A certificate that was renewed is shown from the next connection on.
func TestTLSAsksAnewForEachConnection(t *testing.T) {
	t.Parallel()
	r := newTLSRig(t)
	port := redistest.FreePort(t)
	server, err := redisproc.Start(t.Context(), append(r.settings, "--tls-port", port)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	files := &tlsfile.Files{CA: r.ca.File}
	if _, err := files.Load(); err != nil {
		t.Fatal(err)
	}
	s := r.store(t, "rediss://127.0.0.1:"+port, func() *tls.Config { return files.Client("") })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Check(ctx); err == nil {
		t.Fatal("Redis can be used without a certificate")
	}
	files.Cert, files.Key = r.files.Cert, r.files.Key
	if _, err := files.Load(); err != nil {
		t.Fatal(err)
	}
	usable(t, s)
}

// Sentinels are asked by TLS, and so is the master that they name.
func TestTLSOfSentinels(t *testing.T) {
	t.Parallel()
	r := newTLSRig(t)
	sentinels, err := redisproc.StartSentinels(t.Context(), 1, 0, r.settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sentinels.Close() })
	_, port, err := net.SplitHostPort(sentinels.Master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// From here on the master speaks TLS on the port that the Sentinel tells.
	for _, setting := range [][]string{{"port", "0"}, {"tls-port", port}} {
		if _, err := sentinels.Master.Command(t.Context(), "CONFIG", "SET", setting[0], setting[1]); err != nil {
			t.Fatal(err)
		}
	}
	front := r.proxy(t, sentinels.Watchers[0].Addr())
	usable(t, r.store(t, "rediss://"+front+"/?master_name="+redisproc.MasterName, r.own))
}

// proxy is a port that speaks TLS before one that does not.
func (r *tlsRig) proxy(t *testing.T, to string) string {
	t.Helper()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{r.ca.Pair(testcert.Names{CN: "sentinel"})},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: r.ca.Pool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = lis.Close(); all.Wait() })
	all.Go(func() {
		for {
			from, err := lis.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			there, err := dialer.DialContext(context.WithoutCancel(t.Context()), "tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, there}, {there, from}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				})
			}
		}
	})
	return lis.Addr().String()
}

func TestTLSOfCluster(t *testing.T) {
	t.Parallel()
	r := newTLSRig(t)
	cluster, err := redisproc.StartCluster(t.Context(), 3, 0, append(r.settings, "--tls-cluster", "yes")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	s := r.store(t, cluster.SecureURL(), r.own)
	usable(t, s)
	if got := s.Info().Kind; got != "cluster" {
		t.Errorf("it is a %s", got)
	}
}
