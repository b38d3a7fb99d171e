package docstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/redistest"
)

// Session is one reader who types the commands of a file, from its first line to
// its last.
type Session struct {
	tb testing.TB
	// root is that of the repository, and dir the session's own directory.
	root, dir       string
	retryd, grpcurl string
	server          *Server
	// given says that the server was, and plays the one that is printed.
	given bool
	// values are what printed values stand for.
	values map[string]string
	// last is what the last command answered, failed whether it refused, and
	// shown whether that was compared.
	last    string
	failed  bool
	shown   bool
	lastCmd string
	streams []*stream

	// Rewrite, when set, is given the answers that are not printed as they came,
	// but for those with elisions and of streams, which are written by hand.
	Rewrite func(b Block, answer string)
}

// stream is a command that goes on.
type stream struct {
	*Process
	cmd  string
	seen int
}

// NewSession returns a session in the repository at root. A server that is
// running may be given, to be used throughout; otherwise one is started when it
// is first needed.
func NewSession(tb testing.TB, root, retryd string, server *Server) *Session {
	tb.Helper()
	dir := tb.TempDir()
	// Commands name the ready-made policies and the protos by their paths from the root.
	for _, name := range []string{"deploy", "proto"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
	return &Session{
		tb: tb, root: root, dir: dir, retryd: retryd, grpcurl: Grpcurl(tb, root),
		server: server, given: server != nil, values: make(map[string]string), shown: true,
	}
}

// Play takes the blocks of a file, one after the other.
func (s *Session) Play(file string, blocks []Block) {
	s.tb.Helper()
	for _, b := range blocks {
		at := fmt.Sprintf("%s:%d", file, b.Line)
		var err error
		switch {
		case b.IsExample():
			// The test of the examples runs it, where their languages are.
		case b.Lang == "sh":
			err = s.runAll(b)
		case b.IsOutput():
			err = s.compare(b)
		case b.Lang == "yaml" && b.Source() != "":
			// It stands there already.
		case b.Lang == "yaml" && len(b.Info) > 0:
			err = os.WriteFile(filepath.Join(s.dir, filepath.Base(b.Info[0])), []byte(b.Text), 0o600)
		}
		if err != nil {
			s.tb.Fatalf("%s: %v", at, err)
		}
	}
	if err := s.done(); err != nil {
		s.tb.Fatalf("%s: %v", file, err)
	}
}

func (s *Session) runAll(b Block) error {
	commands, err := Commands(b.Text)
	if err != nil {
		return err
	}
	refused := len(b.Info) > 0 && b.Info[0] == "refused"
	for _, c := range commands {
		if err := errors.Join(s.done(), s.run(c, refused)); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// done ends the last command: one that was refused must be shown.
func (s *Session) done() error {
	if s.failed && !s.shown {
		return fmt.Errorf("%s was refused, and its answer is not printed:\n%s", s.lastCmd, s.last)
	}
	return nil
}

// run runs one command. What it does not know, it refuses: so nothing is printed
// that nobody tries.
func (s *Session) run(c Command, refused bool) error {
	switch line := c.String() + " "; {
	case refused && strings.HasPrefix(line, "go run ./cmd/retryd "):
		if err := s.answer(c, s.retryd, c.Args[3:]); err != nil || s.failed {
			return err
		}
		return errors.New("it was not refused")
	case strings.HasPrefix(line, "go run ./cmd/retryd dev "):
		if !s.given {
			s.server = StartServer(s.tb, s.dir, c.Env, s.retryd, c.Args[4:]...)
		}
		return nil
	case strings.HasPrefix(line, "go run ./cmd/retryd serve "):
		s.serve(c)
		return nil
	case strings.HasPrefix(line, "go run ./cmd/retryd watch "):
		s.follow(c, s.retryd, c.Args[3:])
		return nil
	case strings.HasPrefix(line, "go run ./cmd/retryd "):
		return s.answer(c, s.retryd, c.Args[3:])
	case strings.HasPrefix(line, "retryd "):
		return s.answer(c, s.retryd, c.Args[1:])
	case strings.HasPrefix(line, "grpcurl ") && strings.HasSuffix(line, "/Subscribe "):
		s.follow(c, s.grpcurl, c.Args[1:])
		return nil
	case strings.HasPrefix(line, "grpcurl "):
		return s.answer(c, s.grpcurl, c.Args[1:])
	case strings.HasPrefix(line, "curl -i http://") && len(c.Args) == 3:
		return s.get(c)
	case strings.HasPrefix(line, "go run ./"), strings.HasPrefix(line, "go test ./"):
		return s.isPackage(c.Args[2])
	case strings.HasPrefix(line, "go get github.com/retryd/retryd"):
		return nil
	case strings.HasPrefix(line, "go install "):
		return s.isTool(c.Args[2])
	case strings.HasPrefix(line, "make "):
		return s.isTarget(c.Args[1:])
	}
	return errors.New("docstest does not know this command")
}

// serve runs the service on a Redis of the session's own, in the place of the one
// that is printed, until it serves.
func (s *Session) serve(c Command) {
	s.tb.Helper()
	args := slices.Clone(c.Args[3:])
	url := redistest.Start(s.tb).URL()
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "redis://127.0.0.1:6379", url)
	}
	env := append([]string{"RETRYD_LISTEN=127.0.0.1:0", "RETRYD_ADMIN_LISTEN=127.0.0.1:0", "RETRYD_REDIS_URL=" + url}, c.Env...)
	StartProcess(s.tb, s.dir, env, s.retryd, args...).AwaitLog("word that it serves", func(text string) bool {
		return strings.Contains(text, "redis can be used: serving")
	})
}

// here puts the session's addresses and values in the place of the printed ones.
func (s *Session) here(args []string) []string {
	if s.server == nil {
		s.server = StartServer(s.tb, s.dir, nil, s.retryd)
	}
	pairs := []string{"127.0.0.1:7600", s.server.Addr, "localhost:7600", s.server.Addr, "127.0.0.1:7601", s.server.Admin}
	for printed, value := range s.values {
		if printed != "" {
			pairs = append(pairs, printed, value)
		}
	}
	replacer := strings.NewReplacer(pairs...)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = replacer.Replace(a)
	}
	return out
}

// printed puts the addresses of a default server into an answer.
func (s *Session) printed(answer string) string {
	return strings.NewReplacer(s.server.Addr, "127.0.0.1:7600", s.server.Admin, "127.0.0.1:7601").Replace(answer)
}

// environment is that of a command, which calls the session's server.
func (s *Session) environment(c Command) []string {
	return append([]string{"RETRYD_ADDRESS=" + s.server.Addr}, c.Env...)
}

// follow starts a command that goes on.
func (s *Session) follow(c Command, path string, args []string) {
	s.tb.Helper()
	args = s.here(args)
	p := StartProcess(s.tb, s.dir, s.environment(c), path, args...)
	s.streams = append(s.streams, &stream{Process: p, cmd: c.String()})
}

// answer runs a command to its end and keeps what it answers.
func (s *Session) answer(c Command, path string, args []string) error {
	args = s.here(args)
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.environment(c)...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if err != nil && c.Args[0] == "go" {
		// go run says so, too.
		text = append(text, err.Error()+"\n"...)
	}
	s.last, s.failed, s.shown, s.lastCmd = s.printed(string(text)), err != nil, false, c.String()
	return nil
}

// get does what curl -i does, but for the headers that tell nothing: curl is not
// needed to test.
func (s *Session) get(c Command) error {
	req, err := http.NewRequestWithContext(s.tb.Context(), http.MethodGet, s.here(c.Args)[2], http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	s.last, s.failed, s.shown, s.lastCmd = fmt.Sprintf("%s %s\n%s", resp.Proto, resp.Status, body), false, false, c.String()
	return nil
}

// compare holds an answer to what is printed.
func (s *Session) compare(b Block) error {
	if len(b.Info) > 1 {
		return s.compareStream(b)
	}
	if s.lastCmd == "" {
		return errors.New("an answer without a command")
	}
	values, used, err := Match(b.Text, s.last, time.Now())
	if all := lines(s.last); err == nil && used < len(all) {
		err = fmt.Errorf("the answer goes on with %q", all[used])
	}
	if err != nil && s.Rewrite != nil && !slices.Contains(lines(b.Text), elision) {
		s.Rewrite(b, s.last)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w\nthe answer:\n%s", s.lastCmd, err, s.last)
	}
	s.shown = true
	s.bind(values)
	return nil
}

func (s *Session) compareStream(b Block) error {
	for _, st := range s.streams {
		if !strings.Contains(st.cmd, b.Info[1]) {
			continue
		}
		want := len(lines(b.Text))
		text := st.Await("what is printed", func(text string) bool { return len(lines(text)) >= st.seen+want })
		got := strings.Join(lines(text)[st.seen:], "\n")
		values, used, err := Match(b.Text, got, time.Now())
		if err != nil {
			return fmt.Errorf("%s: %w\nthe answer:\n%s", st.cmd, err, got)
		}
		st.seen += used
		s.bind(values)
		return nil
	}
	return fmt.Errorf("no stream has %q in its command", b.Info[1])
}

func (s *Session) bind(values map[string]string) {
	maps.Copy(s.values, values)
}

// isPackage checks that a path of this module names a directory with Go files.
func (s *Session) isPackage(path string) error {
	files, err := filepath.Glob(filepath.Join(s.root, path, "*.go"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds no Go files", path)
	}
	return err
}

// isTool checks that a tool is installed in the version that is pinned.
func (s *Session) isTool(arg string) error {
	path, version, _ := strings.Cut(arg, "@")
	pinned, err := os.ReadFile(filepath.Join(s.root, "tools", "go.mod"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(pinned)) {
		if f := strings.Fields(line); len(f) >= 2 && strings.HasPrefix(path, f[0]+"/") {
			if f[1] != version {
				return fmt.Errorf("%s is pinned at %s in tools/go.mod", f[0], f[1])
			}
			return nil
		}
	}
	return fmt.Errorf("%s is not among the tools", path)
}

// isTarget checks that make knows the targets.
func (s *Session) isTarget(args []string) error {
	makefile, err := os.ReadFile(filepath.Join(s.root, "Makefile"))
	if err != nil {
		return err
	}
	for _, arg := range args {
		if !strings.Contains(arg, "=") && !strings.Contains(string(makefile), "\n"+arg+":") {
			return fmt.Errorf("make has no target %q", arg)
		}
	}
	return nil
}
