package respproxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Config is what a proxy is started with.
type Config struct {
	// Listen is where it listens, on loopback by default at a port of its choice.
	Listen string
	// Network and Addr are where the server is: "tcp" and host:port, or "unix" and
	// the path of a socket.
	Network, Addr string
	// Seed is for the draws that choose which answers are lost.
	Seed uint64
}

// Proxy is one that runs. All its methods may be called at any time.
type Proxy struct {
	cfg      Config
	listener net.Listener
	ctx      context.Context //nolint:containedctx // it ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu     sync.Mutex
	rules  Rules
	random *rand.Rand
	counts Counts
	links  map[*link]struct{}
	// changed is closed when the rules change.
	changed chan struct{}
}

// Start starts a proxy, which ends with Close.
func Start(ctx context.Context, cfg Config) (*Proxy, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy of %s: %w", cfg.Addr, err)
	}
	p := &Proxy{
		cfg: cfg, listener: listener, random: rand.New(rand.NewPCG(cfg.Seed, 1)), //nolint:gosec // draws are to be repeatable
		links: make(map[*link]struct{}), changed: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients find it.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is Addr as clients of Redis want it.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Set replaces the rules, also for the connections that there are.
func (p *Proxy) Set(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = r
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut ends all connections. New ones are taken, unless the rules refuse them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Counts tells what it has done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close ends the proxy and all that passes by it.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Cut()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.rules.Refuse || p.ctx.Err() != nil
		if !refuse {
			p.counts.Connections++
		}
		p.mu.Unlock()
		if refuse {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	var dialer net.Dialer
	server, err := dialer.DialContext(p.ctx, p.cfg.Network, p.cfg.Addr)
	if err != nil {
		_ = client.Close()
		return
	}
	l := newLink(p, client, server)
	p.mu.Lock()
	p.links[l] = struct{}{}
	ended := p.ctx.Err() != nil
	p.mu.Unlock()
	if ended {
		l.close()
	}
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// await waits until the rules no longer hold a direction; it is false when the
// connection ends first.
func (p *Proxy) await(l *link, held func(Rules) bool) bool {
	for {
		p.mu.Lock()
		hold, changed := held(p.rules), p.changed
		p.mu.Unlock()
		if !hold {
			return true
		}
		select {
		case <-changed:
		case <-l.ended:
			return false
		}
	}
}

// asked counts a command that is passed on.
func (p *Proxy) asked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Commands++
}

// judge says whether the answer to a command is lost, and counts it.
func (p *Proxy) judge(c Command) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rules.LoseReply > 0 && (p.rules.Only == nil || p.rules.Only(c)) && p.random.Float64() < p.rules.LoseReply {
		p.counts.Lost++
		return true
	}
	p.counts.Replies++
	return false
}

func (p *Proxy) unread() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Unread++
}

func (p *Proxy) now() Rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules
}
