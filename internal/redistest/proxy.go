package redistest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server, and loses answers: what was asked
// has been done by then, and the connection ends.
type Proxy struct {
	addr string
	lose func() bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// StartProxy starts a proxy to s that asks lose for every piece of an answer, and
// ends with the test.
func StartProxy(tb testing.TB, s *Server, lose func() bool) *Proxy {
	tb.Helper()
	var config net.ListenConfig
	l, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{addr: l.Addr().String(), lose: lose, conns: make(map[net.Conn]struct{})}
	ctx := context.WithoutCancel(tb.Context())
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(ctx, client, s) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// URL is where clients find the proxy.
func (p *Proxy) URL() string { return "redis://" + p.addr }

func (p *Proxy) serve(ctx context.Context, client net.Conn, s *Server) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "unix", s.socket())
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	p.wg.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	answer := make([]byte, 64<<10)
	for {
		n, err := server.Read(answer)
		if err != nil || p.lose() {
			break
		}
		if _, err := client.Write(answer[:n]); err != nil {
			break
		}
	}
	_, _ = client.Close(), server.Close()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}
