package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// What tells the process of an attack what to do.
const (
	attackEnv = "RETRYD_HOSTILE_ATTACK"
	addrEnv   = "RETRYD_HOSTILE_ADDR"
	windowEnv = "RETRYD_HOSTILE_WINDOW"
)

// secret is in all that the attacks send, so that the log can be searched for it.
const secret = "Zwiebelkuchen"

// attack is one way to hurt a server.
type attack struct {
	name string
	// run attacks until ctx ends. An error is an answer that should not have been
	// given; what a refused attacker sees in plain is no error.
	run func(ctx context.Context, a *assailant) error
	// most is how long answers may take at the 99th percentile where that is longer than
	// goodAnswer, since all of the attack comes within its first second.
	most time.Duration
}

// attacks are all there are, in the order in which they are made.
func attacks() []attack {
	return slices.Concat(streamAttacks(), connectionAttacks(), frameAttacks(), bodyAttacks(), []attack{
		{name: "malformed requests", run: malformedRequests},
	})
}

// assailant is the process of an attack.
type assailant struct {
	addr   string
	window time.Duration
	// dialed counts connections, which come from several hosts in turn.
	dialed atomic.Int64
	mu     sync.Mutex
	counts map[string]int
}

// attackMain is the process of an attack, which tells on its standard output how
// often it saw what.
func attackMain(name string) int {
	a := &assailant{addr: os.Getenv(addrEnv), counts: make(map[string]int)}
	var err error
	if a.window, err = time.ParseDuration(os.Getenv(windowEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	i := slices.IndexFunc(attacks(), func(at attack) bool { return at.name == name })
	if i < 0 {
		fmt.Fprintf(os.Stderr, "no attack is called %q\n", name)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, a.window)
	defer cancel()
	if err := attacks()[i].run(ctx, a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprint(os.Stdout, a.seen())
	return 0
}

// saw counts.
func (a *assailant) saw(n int, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what] += n
}

// sawStatus counts the end of a call.
func (a *assailant) sawStatus(err error) { a.saw(1, "%s", status.Code(err)) }

// ended says whether an attack is over, so that what a call came to means nothing.
// The server may have noticed first.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded
}

// seen tells the counts in the order of their names.
func (a *assailant) seen() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	for what, n := range a.counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.SortFunc(parts, func(x, y string) int {
		return strings.Compare(strings.TrimLeft(x, "0123456789 "), strings.TrimLeft(y, "0123456789 "))
	})
	return strings.Join(parts, ", ")
}

// dial opens a connection by gRPC, which opens it at the first call.
func (a *assailant) dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(a.addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return a.connect(ctx) }))...)
}

// connect opens a connection as far as TCP goes, from a port below those that
// others are given by chance, and such that nothing is left of it once it is closed.
func (a *assailant) connect(ctx context.Context) (net.Conn, error) {
	for {
		n := int(a.dialed.Add(1))
		conn, err := from(2+byte(n%hosts), 1100+n/hosts%13_000).DialContext(ctx, "tcp", a.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return conn, nil
	}
}

// hosts is how many hosts the attackers are.
const hosts = 3

// from is what connects from one of the addresses of loopback, each of which is a
// host to the server, and from a port there.
func from(host byte, port int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host), Port: port}}
}

// launch runs an attack on addr in a process of its own and returns what it has
// seen.
func launch(t *testing.T, name, addr string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), attackEnv+"="+name, addrEnv+"="+addr, windowEnv+"="+window.String())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, stderr.String())
	}
	return stdout.String()
}

// asIs is a codec whose messages are the bytes themselves.
type asIs struct{}

func (asIs) Name() string { return "proto" }

func (asIs) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return proto.Marshal(m)
	}
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is neither bytes nor a message", v)
	}
	return b, nil
}

func (asIs) Unmarshal(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = slices.Clone(data)
		return nil
	case proto.Message:
		return proto.Unmarshal(data, v)
	default:
		return fmt.Errorf("%T is neither bytes nor a message", v)
	}
}

// hold waits for the end of an attack that has nothing more to do.
func hold(ctx context.Context) { <-ctx.Done() }

// closeAll closes connections.
func closeAll[C io.Closer](all []C) {
	for _, c := range all {
		_ = c.Close()
	}
}
