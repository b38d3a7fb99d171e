// Package examples_test tries the examples in other languages, as their page in docs
// tells readers to, where those languages are: `make check-examples`.
package examples_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/docstest"
)

// languages are those of the examples.
var languages = []string{"python", "node"}

// wanted is the variable that asks for these tests: they take tools that make test does
// not.
const wanted = "RETRYD_TEST_EXAMPLES"

// page is the page of the documentation, and a copy of the examples in which its
// commands are run.
type page struct {
	t      *testing.T
	dir    string
	retryd string
	blocks []docstest.Block
}

func open(t *testing.T) *page {
	t.Helper()
	if os.Getenv(wanted) == "" {
		t.Skipf("%s is not set: make check-examples sets it", wanted)
	}
	root := docstest.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "languages.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, dir: t.TempDir(), retryd: docstest.Build(t, root)}
	if p.blocks, _, err = docstest.Blocks(string(text)); err != nil {
		t.Fatal(err)
	}
	// Without what was generated there by hand.
	for _, lang := range languages {
		copyFiles(t, filepath.Join(root, "examples", lang), filepath.Join(p.dir, "examples", lang))
	}
	if err := os.Symlink(filepath.Join(root, "proto"), filepath.Join(p.dir, "proto")); err != nil {
		t.Fatal(err)
	}
	return p
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// commands are those of the block that is for a language and, if any, a part of its
// example, with other words in place of some.
func (p *page) commands(replace map[string]string, info ...string) string {
	p.t.Helper()
	for _, b := range p.blocks {
		if !b.IsExample() || !slices.Equal(b.Info[1:], info) {
			continue
		}
		text := b.Text
		for from, to := range replace {
			if !strings.Contains(text, from) {
				p.t.Fatalf("docs/languages.md:%d has no %q", b.Line, from)
			}
			text = strings.ReplaceAll(text, from, to)
		}
		return text
	}
	p.t.Fatalf("docs/languages.md has no block for %q", info)
	return ""
}

// generate makes the stubs of all languages.
func (p *page) generate() {
	p.t.Helper()
	for _, lang := range languages {
		cmd := exec.CommandContext(p.t.Context(), "bash", "-euc", p.commands(nil, lang))
		cmd.Dir = p.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Fatalf("generate for %s: %v\n%s", lang, err, out)
		}
	}
}

// worker starts one for a queue.
func (p *page) worker(lang, queue, address string) *docstest.Process {
	p.t.Helper()
	text := p.commands(map[string]string{"demo": queue}, lang, "worker")
	// So that signals reach it, and not its shell.
	text = strings.Replace(text, "\n", "\nexec ", 1)
	return docstest.StartProcess(p.t, p.dir, []string{"RETRYD_ADDRESS=" + address}, "bash", "-euc", text)
}

// report runs a reporter to its end, and returns what it prints.
func (p *page) report(lang, id, queue, policy, address string) (string, error) {
	p.t.Helper()
	text := p.commands(map[string]string{"hello-" + lang + " demo quick": strings.Join([]string{id, queue, policy}, " ")}, lang, "reporter")
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", text)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "RETRYD_ADDRESS="+address)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// policies are given to the server; the ready-made ones wait for seconds.
const policies = `policies:
  - {id: soon, display_name: Soon, max_retries: 5, fixed: {delay: 200ms}, default_action: RETRY}
`

func TestExamples(t *testing.T) {
	t.Parallel()
	p := open(t)
	p.generate()
	t.Run("reporters and workers", func(t *testing.T) {
		t.Parallel()
		p.in(t).testReportersAndWorkers()
	})
	t.Run("what is wrong", func(t *testing.T) {
		t.Parallel()
		p.in(t).testRefusal()
	})
}

// in is the page as another test uses it.
func (p *page) in(t *testing.T) *page {
	t.Helper()
	own := *p
	own.t = t
	return &own
}

// Each reporter's report is worked off by each worker: attempt 2 fails, attempt 3 does
// not. Workers find a server that was killed and started anew, and end in order when
// they are told to.
func (p *page) testReportersAndWorkers() {
	t := p.t
	t.Helper()
	file := filepath.Join(p.dir, "policies.yaml")
	if err := os.WriteFile(file, []byte(policies), 0o600); err != nil {
		t.Fatal(err)
	}
	server := docstest.StartServer(t, p.dir, nil, p.retryd, "--policies", file)
	workers := make(map[string]*docstest.Process)
	for _, lang := range languages {
		workers[lang] = p.worker(lang, "of-"+lang, server.Addr)
		p.roundTrip(server.Addr, lang, lang, "first", workers[lang])
	}
	server.Signal(syscall.SIGKILL)
	server.Wait()
	server = docstest.StartServer(t, p.dir, []string{"RETRYD_LISTEN=" + server.Addr}, p.retryd, "--policies", file)

	var ids []string
	for _, from := range languages {
		for _, to := range languages {
			ids = append(ids, p.roundTrip(server.Addr, from, to, "again", workers[to]))
		}
	}
	for _, lang := range languages {
		workers[lang].Signal(syscall.SIGTERM)
		if status := workers[lang].Wait(); status != 0 {
			t.Errorf("the worker in %s ended with status %d:\n%s", lang, status, workers[lang].Stderr())
		}
	}
	c, err := client.New(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, id := range ids {
		resp, err := c.Tasks().GetTask(t.Context(), &retryv1.GetTaskRequest{TaskId: id})
		if err != nil {
			t.Fatal(err)
		}
		if task := resp.GetTask(); task.GetState() != retryv1.Task_STATE_SUCCEEDED || task.GetAttempt() != 3 {
			t.Errorf("%s is %s at attempt %d once its worker has ended, want success at 3", id, task.GetState(), task.GetAttempt())
		}
	}
}

// roundTrip reports by one language, waits until the worker of another has made two
// attempts, and returns the task's id.
func (p *page) roundTrip(address, from, to, name string, worker *docstest.Process) string {
	p.t.Helper()
	id := fmt.Sprintf("%s-from-%s-to-%s", name, from, to)
	out, err := p.report(from, id, "of-"+to, "soon", address)
	if err != nil {
		p.t.Fatalf("the reporter in %s: %v\n%s", from, err, out)
	}
	for _, want := range []string{id + ": attempt 2 at 20", "No rule matched; the default action is RETRY."} {
		if !strings.Contains(out, want) {
			p.t.Errorf("the reporter in %s does not print %q:\n%s", from, want, out)
		}
	}
	for _, attempt := range []int{2, 3} {
		line := fmt.Sprintf("%s: attempt %d, payload {\"to\": \"Ada\"}\n", id, attempt)
		worker.Await("the worker in "+to+" to print "+line, func(stdout string) bool { return strings.Contains(stdout, line) })
	}
	return id
}

// What is wrong with a report is told, and ends its reporter with a status.
func (p *page) testRefusal() {
	t := p.t
	t.Helper()
	server := docstest.StartServer(t, p.dir, nil, p.retryd)
	for _, lang := range languages {
		out, err := p.report(lang, "id", "queue", "no-such-policy", server.Addr)
		if want := `NOT_FOUND: there is no policy "no-such-policy"`; err == nil || !strings.Contains(out, want) {
			t.Errorf("the reporter in %s ends with %v, want a status and %q:\n%s", lang, err, want, out)
		}
	}
}
