package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/internal/docstest"
)

// The test's own binary plays the processes that tests need.
const (
	roleVariable = "TEST_ROLE"
	roleRetryd   = roleVariable + "=retryd"
	roleWorker   = roleVariable + "=worker"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "retryd":
		main()
	case "worker":
		if err := work(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startServer starts a real `retryd dev` on free ports.
func startServer(t *testing.T, args ...string) *docstest.Server {
	t.Helper()
	return docstest.StartServer(t, t.TempDir(), []string{roleRetryd}, self(t), args...)
}

// start starts any other command of retryd.
func start(t *testing.T, args ...string) *docstest.Process {
	t.Helper()
	return docstest.StartProcess(t, t.TempDir(), []string{roleRetryd}, self(t), args...)
}

// execute runs a command that comes to an end by itself, in this process.
func execute(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	env := cli.System(version())
	env.Out = &out
	cmd := newRootCommand(env)
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// dial connects to a server for as long as the test lasts.
func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close the connection: %v", err)
		}
	})
	return conn
}

// policyFile writes a file of policies.
func policyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantError holds an error to the texts that it must tell, on a line each where
// there are several.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want %q in it", err, w)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(want) {
		t.Errorf("error of %d lines, want %d:\n%v", lines, len(want), err)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got, err := execute(t, "version")
	if err != nil || !strings.HasPrefix(got, "retryd ") || !strings.Contains(got, " go1.") {
		t.Errorf("version: %q, %v", got, err)
	}
}

func TestWrongCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"fly"}, `unknown command "fly"`},
		{[]string{"dev", "now"}, `unknown command "now" for "retryd dev"`},
		{[]string{"dev", "--colour"}, "unknown flag: --colour (see retryd dev --help)"},
	} {
		_, err := execute(t, c.args...)
		wantError(t, err, c.want)
	}
	p := start(t, "dev", "--colour")
	if status := p.Wait(); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	if got := p.Stderr(); got != "retryd: unknown flag: --colour (see retryd dev --help)\n" {
		t.Errorf("it says %q", got)
	}
	if p.Stdout() != "" {
		t.Errorf("it writes %q to standard output", p.Stdout())
	}
}

var errNoSample = errors.New("a new flag needs a sample here")
