package respproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/internal/respproxy"
)

// caller is a client by hand.
type caller struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func call(t *testing.T, p *respproxy.Proxy) *caller {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &caller{t, conn, bufio.NewReader(conn)}
}

// send sends commands, a line each, as one pipeline.
func (c *caller) send(lines ...string) {
	c.t.Helper()
	var b strings.Builder
	for _, line := range lines {
		words := strings.Fields(line)
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, w := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
		}
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		c.t.Fatal(err)
	}
}

// want wants lines to come next.
func (c *caller) want(lines ...string) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, want := range lines {
		if got, err := c.r.ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
			c.t.Fatalf("read %q, error %v, want %q", got, err, want)
		}
	}
}

// wantNothing wants nothing to come for a while.
func (c *caller) wantNothing() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := c.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, error %v", b, err)
	}
}

// wantEnd wants the connection to have ended.
func (c *caller) wantEnd() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := c.r.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, error %v, want the end", got, err)
	}
}

func start(t *testing.T) (*redistest.Server, *respproxy.Proxy) {
	t.Helper()
	server := redistest.Start(t)
	return server, redistest.StartProxy(t, server)
}

func TestPipelinesPassInOrder(t *testing.T) {
	t.Parallel()
	_, p := start(t)
	c := call(t, p)
	var lines, answers []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("SET k%d %d", i, i), fmt.Sprintf("STRLEN k%d", i))
		answers = append(answers, "+OK", fmt.Sprintf(":%d", len(fmt.Sprint(i))))
	}
	c.send(lines...)
	c.want(answers...)
	if got := p.Counts(); got.Commands != 2000 || got.Replies != 2000 || got.Lost != 0 || got.Connections != 1 {
		t.Errorf("counts %+v", got)
	}
}

func TestALostReplyIsThatOfACommandThatWasDone(t *testing.T) {
	t.Parallel()
	server, p := start(t)
	p.Set(respproxy.Rules{LoseReply: 1, Only: respproxy.Named("INCR")})
	c := call(t, p)
	c.send("SET a 1", "INCR a", "SET b 1")
	c.want("+OK")
	c.wantEnd()
	if a := server.Do(t, "GET", "a"); a != "2" {
		t.Errorf("a is %s, want 2", a)
	}
	if got := p.Counts(); got.Lost != 1 {
		t.Errorf("counts %+v", got)
	}
	p.Set(respproxy.Rules{})
	c = call(t, p)
	c.send("INCR a")
	c.want(":3")
}

func TestALossIsByItsShareAndRepeatsBySeed(t *testing.T) {
	t.Parallel()
	run := func() (lost string) {
		_, p := start(t)
		p.Set(respproxy.Rules{LoseReply: 0.3})
		for range 100 {
			c := call(t, p)
			c.send("PING")
			_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.r.ReadString('\n'); err != nil {
				lost += "x"
			} else {
				lost += "."
			}
		}
		return lost
	}
	first := run()
	if n := strings.Count(first, "x"); n < 15 || n > 45 {
		t.Errorf("%d of 100 were lost, want about 30", n)
	}
	if again := run(); again != first {
		t.Errorf("another time others were lost:\n%s\n%s", first, again)
	}
}

// TestWhatIsPushedAnswersNothing loses the answer to the first command behind
// messages of a channel, by both protocols, and no message.
func TestWhatIsPushedAnswersNothing(t *testing.T) {
	t.Parallel()
	for version, kind := range map[string]string{"2": "*", "3": ">"} {
		t.Run("RESP"+version, func(t *testing.T) {
			t.Parallel()
			server, p := start(t)
			c := call(t, p)
			c.send("HELLO "+version, "SUBSCRIBE news")
			for line := ""; line != "$9\r\n"; {
				var err error
				_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if line, err = c.r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			c.want("subscribe", "$4", "news", ":1")
			p.Set(respproxy.Rules{LoseReply: 1})
			for range 3 {
				server.Do(t, "PUBLISH", "news", "hello")
				c.want(kind+"3", "$7", "message", "$4", "news", "$5", "hello")
			}
			c.send("PING")
			c.wantEnd()
		})
	}
}

func TestEachDirectionIsHeldByItself(t *testing.T) {
	t.Parallel()
	server, p := start(t)
	c := call(t, p)
	c.send("PING")
	c.want("+PONG")

	p.Set(respproxy.Rules{HoldRequests: true})
	c.send("SET a 1")
	c.wantNothing()
	if got := server.Do(t, "EXISTS", "a"); got != "0" {
		t.Error("a request passed that was to be held")
	}
	p.Set(respproxy.Rules{HoldReplies: true})
	c.wantNothing()
	awaitExists(t, server, "a")
	late := call(t, p)
	late.send("PING")
	late.wantNothing()
	p.Set(respproxy.Rules{})
	c.want("+OK")
	late.want("+PONG")
}

// awaitExists waits until the server has a key.
func awaitExists(t *testing.T, server *redistest.Server, key string) {
	t.Helper()
	for t.Context().Err() == nil && server.Do(t, "EXISTS", key) != "1" {
		<-time.After(time.Millisecond)
	}
}

func TestAnswersOfAPipelineAreDelayedTogether(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	_, p := start(t)
	p.Set(respproxy.Rules{Delay: delay})
	c := call(t, p)
	began := time.Now()
	c.send(strings.Split(strings.Repeat("PING\n", 49)+"PING", "\n")...)
	for range 50 {
		c.want("+PONG")
	}
	if took := time.Since(began); took < delay || took > 25*delay {
		t.Errorf("50 answers took %s, want %s or little more", took, delay)
	}
}

func TestACutEndsConnectionsAndRefusalKeepsNewOnesOut(t *testing.T) {
	t.Parallel()
	_, p := start(t)
	c := call(t, p)
	c.send("PING")
	c.want("+PONG")
	p.Set(respproxy.Rules{Refuse: true})
	c.send("PING")
	c.want("+PONG")
	p.Cut()
	c.wantEnd()
	call(t, p).wantEnd()
	p.Set(respproxy.Rules{})
	c = call(t, p)
	c.send("PING")
	c.want("+PONG")
}

// TestAStreamOfAnotherKindIsCopied follows a server as a replica would.
func TestAStreamOfAnotherKindIsCopied(t *testing.T) {
	t.Parallel()
	server, p := start(t)
	c := call(t, p)
	c.send("PING", "MONITOR")
	c.want("+PONG", "+OK")
	server.Do(t, "SET", "seen", "1")
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := c.r.ReadString('\n'); err != nil || !strings.Contains(got, `"seen"`) {
		t.Errorf("read %q, error %v", got, err)
	}
}
