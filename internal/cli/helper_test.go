package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

var update = flag.Bool("update", false, "write what commands print into the golden files")

// rig is a server, and a command line beside it.
type rig struct {
	t *testing.T
	// Client is one of the library, for what a test sets up.
	*client.Client
	lis   *bufconn.Listener
	sched *scheduler.Scheduler
	// env are the variables of the commands.
	env map[string]string
	// input is what they read.
	input string
	// inTerminal and errTerminal say what standard input and error are.
	inTerminal, errTerminal bool
	// away says that nobody answers at the server's address.
	away bool
	// onCall and onStream, when set, may fail the calls and streams of commands.
	onCall   func(method string) error
	onStream func() error
}

// inBubble runs a test against a server in a bubble of virtual time, which begins
// at 2000-01-01: so that what commands print is the same in every run.
func inBubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newRig(t)) })
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) { <-time.After(d) }

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, lis: bufconn.Listen(1 << 20), env: make(map[string]string)}
	log := slog.New(slog.DiscardHandler)
	sched, err := scheduler.New(teststore.New(t), scheduler.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r.sched = sched
	srv, err := server.New(server.Config{Log: log, DrainTimeout: time.Second, Version: "v1.2.3"}, sched)
	if err != nil {
		t.Fatal(err)
	}
	serving, stopServing := context.WithCancel(t.Context())
	scheduling, stopScheduling := context.WithCancel(context.WithoutCancel(t.Context()))
	var scheduled, served sync.WaitGroup
	scheduled.Go(func() {
		if err := sched.Run(scheduling); err != nil {
			t.Errorf("scheduler: %v", err)
		}
	})
	served.Go(func() {
		if err := srv.Run(serving, r.lis); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	t.Cleanup(func() {
		stopServing()
		served.Wait()
		stopScheduling()
		scheduled.Wait()
	})
	if r.Client, err = client.New("passthrough:///test", append(r.options(), client.WithInsecure())...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// options lead clients to the server, whatever address they are given; without one,
// they go where the address says.
func (r *rig) options() []client.Option {
	if r.lis == nil {
		return nil
	}
	return []client.Option{client.WithDialOptions(grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) {
			if r.away {
				return nil, errors.New("connection refused")
			}
			return r.lis.DialContext(ctx)
		},
	))}
}

// result is what a command did.
type result struct {
	t        *testing.T
	args     []string
	code     int
	out, err string
}

// run runs a command to its end.
func (r *rig) run(args ...string) result {
	r.t.Helper()
	return r.runUntil(r.t.Context(), args...)
}

// runUntil runs a command, which is interrupted when the context ends.
func (r *rig) runUntil(ctx context.Context, args ...string) result {
	r.t.Helper()
	var out, errs bytes.Buffer
	env := &cli.Env{
		In: strings.NewReader(r.input), Out: &out, Err: &errs, Now: time.Now, Version: "v1.2.3",
		Lookup:     func(name string) (string, bool) { v, ok := r.env[name]; return v, ok },
		InTerminal: r.inTerminal, ErrTerminal: r.errTerminal,
		Client: append(r.options(), r.interceptors()),
	}
	code := cli.Execute(ctx, newRoot(env), env, args)
	return result{r.t, args, code, out.String(), errs.String()}
}

// newRoot is a root with the commands of this package alone.
func newRoot(env *cli.Env) *cobra.Command {
	root := &cobra.Command{Use: "retryd", SilenceUsage: true, SilenceErrors: true}
	cli.AddTo(root, env)
	return root
}

// wants checks the exit code.
func (r result) wants(code int) result {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("retryd %s: exit code %d, want %d\n%s%s", strings.Join(r.args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// says checks that the output, or the errors, have each of the texts.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			r.t.Errorf("retryd %s lacks %q:\n%s%s", strings.Join(r.args, " "), text, r.out, r.err)
		}
	}
	return r
}

// What differs from run to run, and is replaced in golden files.
var etags = regexp.MustCompile(`(etag"?: "?)[A-Za-z0-9_=-]+`)

// golden compares command, exit code, output and errors with testdata/NAME.golden;
// go test -update writes it.
func (r result) golden(name string) {
	r.t.Helper()
	var b strings.Builder
	b.WriteString("$ retryd " + strings.Join(r.args, " ") + "\n" + r.out)
	if r.err != "" {
		b.WriteString("--- standard error\n" + r.err)
	}
	if r.code != 0 {
		b.WriteString("--- exit code " + strconv.Itoa(r.code) + "\n")
	}
	got := etags.ReplaceAllString(b.String(), "${1}ETAG")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		r.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// policy creates one that retries everything after the delay.
func (r *rig) policy(id string, delay time.Duration, retries int32) {
	r.t.Helper()
	_, err := r.Policies().CreatePolicy(r.t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: id, DisplayName: strings.ToUpper(id), MaxRetries: retries, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(delay)}},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
}
