package respproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is one connection of a client and the one to the server that stands for it.
type link struct {
	p              *Proxy
	client, server net.Conn
	once           sync.Once
	ended          chan struct{}

	mu sync.Mutex
	// asked are the commands without an answer yet, the first first.
	asked []Command
	// listens is set once the client has subscribed: from then on lists may come
	// that answer nothing.
	listens bool
	// raw is set once the connection carries something else than answers.
	raw bool
}

// held is an answer on its way to the client.
type held struct {
	raw   []byte
	until time.Time
}

// backlog is how many answers may be held by a delay on one connection before the
// server is read no further.
const backlog = 4096

func newLink(p *Proxy, client, server net.Conn) *link {
	return &link{p: p, client: client, server: server, ended: make(chan struct{})}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.ended)
		_, _ = l.client.Close(), l.server.Close()
	})
}

// run passes on until either side ends.
func (l *link) run() {
	answers := make(chan held, backlog)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer l.close()
		l.noteUnread(l.requests())
	})
	wg.Go(func() {
		defer l.close()
		l.deliver(answers)
	})
	// What was read before the end is delivered, and then the connection ends.
	l.noteUnread(l.replies(answers))
	close(answers)
	wg.Wait()
}

func (l *link) noteUnread(err error) {
	if errors.Is(err, errFrame) {
		l.p.unread()
	}
}

// requests passes on what the client asks.
func (l *link) requests() error {
	r := bufio.NewReaderSize(l.client, 64<<10)
	for {
		f, c, err := readCommand(r)
		if err != nil {
			return err
		}
		if !l.p.await(l, func(r Rules) bool { return r.HoldRequests }) {
			return nil
		}
		stream := l.expect(c)
		l.p.asked()
		if _, err := l.server.Write(f.raw); err != nil {
			return err
		}
		if stream {
			_, err := io.Copy(l.server, r)
			return err
		}
	}
}

// expect notes that the server owes an answer to c, if it does. stream says that the
// connection is none of commands and answers from then on.
func (l *link) expect(c Command) (stream bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.Name {
	case "":
		// An empty line is not answered.
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		// It is answered by as many lists as it names channels, which look like
		// what is pushed.
		l.listens = true
	case "SYNC", "PSYNC", "MONITOR":
		l.raw = true
		return true
	default:
		l.asked = append(l.asked, c)
	}
	return false
}

// replies reads what the server answers, and hands on what is not lost.
func (l *link) replies(to chan<- held) error {
	r := bufio.NewReaderSize(l.server, 64<<10)
	for {
		// The kind of what follows is only known once something follows.
		if _, err := r.Peek(1); err != nil {
			return err
		}
		if l.isRaw() {
			return l.copyRaw(r, to)
		}
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		if c, answers := l.answered(f); answers && l.p.judge(c) {
			return nil
		}
		if !l.send(to, f.raw) {
			return nil
		}
	}
}

// answered returns the command that f is the answer to; ok is false for what is
// pushed.
func (l *link) answered(f frame) (c Command, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.kind == '>' || (l.listens && f.kind == '*' && pushed(f.word)) || len(l.asked) == 0 {
		return Command{}, false
	}
	c = l.asked[0]
	l.asked = l.asked[1:]
	return c, true
}

// pushed says whether a list that begins with word comes without having been asked
// for, by RESP2.
func pushed(word string) bool {
	switch word {
	case "message", "pmessage", "smessage", "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return true
	}
	return false
}

func (l *link) isRaw() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw && len(l.asked) == 0
}

func (l *link) copyRaw(r *bufio.Reader, to chan<- held) error {
	for {
		buf := make([]byte, 32<<10)
		n, err := r.Read(buf)
		if n > 0 && !l.send(to, buf[:n]) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) send(to chan<- held, raw []byte) bool {
	select {
	case to <- held{raw, time.Now().Add(l.p.now().Delay)}:
		return true
	case <-l.ended:
		return false
	}
}

// deliver writes answers to the client when they may pass.
func (l *link) deliver(answers <-chan held) {
	w := bufio.NewWriterSize(l.client, 64<<10)
	for a := range answers {
		if wait := time.Until(a.until); wait > 0 {
			if w.Flush() != nil || !l.pause(wait) {
				return
			}
		}
		if !l.p.await(l, func(r Rules) bool { return r.HoldReplies }) {
			return
		}
		if _, err := w.Write(a.raw); err != nil {
			return
		}
		if len(answers) == 0 && w.Flush() != nil {
			return
		}
	}
	_ = w.Flush()
}

// pause waits; it is false when the connection ends first.
func (l *link) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ended:
		return false
	}
}
