package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// startServe starts a real `retryd serve` on free ports, and returns its gRPC
// address.
func startServe(t *testing.T, args ...string) (p *docstest.Process, addr string) {
	t.Helper()
	p = start(t, append([]string{"serve", "--listen=127.0.0.1:0", "--admin-listen="}, args...)...)
	text := p.AwaitLog("the line that names its port", func(text string) bool { return listening.MatchString(text) })
	return p, listening.FindStringSubmatch(text)[1]
}

// awaitHealth watches until health is as wanted.
func awaitHealth(t *testing.T, addr string, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	watch, err := healthpb.NewHealthClient(dial(t, addr)).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		got, err := watch.Recv()
		if err != nil {
			t.Fatalf("health is not %s: %v", want, err)
		}
		if got.GetStatus() == want {
			return
		}
	}
}

func TestServeWaitsForRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--port", redistest.FreePort(t))
	redis.Stop(t)
	p, addr := startServe(t, "--redis-url="+redis.URL(), "--policies="+policyFile(t, quickPolicy))
	awaitHealth(t, addr, healthpb.HealthCheckResponse_NOT_SERVING)
	retry := retryv1.NewRetryServiceClient(dial(t, addr))
	if _, err := retry.ReportFailure(t.Context(), quickFailure("early")); status.Code(err) != codes.Unavailable {
		t.Errorf("a report without Redis: %v", err)
	}
	redis.Restart(t)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	if _, err := retry.ReportFailure(t.Context(), quickFailure("a")); err != nil {
		t.Errorf("a report once Redis is there: %v", err)
	}
	redis.Stop(t)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_NOT_SERVING)
	redis.Restart(t)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	// It kept nothing on disk and has come back empty; the file's policies are there.
	if _, err := retry.ReportFailure(t.Context(), quickFailure("a")); err != nil {
		t.Errorf("a report once Redis is back: %v", err)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit status %d after SIGTERM", code)
	}
}

const quickPolicy = `
policies:
  - {id: quick, display_name: Quick, max_retries: 3, fixed: {delay: 1s}, default_action: RETRY}
`

func quickFailure(id string) *retryv1.ReportFailureRequest {
	return &retryv1.ReportFailureRequest{
		Task:    &retryv1.TaskSpec{Id: id, Queue: "q", Policy: "quick"},
		Failure: &retryv1.Failure{Cause: &retryv1.Failure_Timeout{Timeout: &retryv1.TimeoutFailure{}}},
	}
}

func TestServeEndsWhereRedisIsUnfit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, redis *redistest.Server)
		want  []string
	}{
		{"eviction", func(t *testing.T, redis *redistest.Server) {
			t.Helper()
			redis.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		}, []string{"maxmemory-policy is allkeys-lru", "set maxmemory-policy noeviction"}},
		{"format", func(t *testing.T, redis *redistest.Server) {
			t.Helper()
			redis.Do(t, "HSET", "retryd:{meta}:layout", "format", "99", "shards", "16")
		}, []string{"has format 99", "run the version of retryd that wrote it"}},
		{"shards", func(t *testing.T, redis *redistest.Server) {
			t.Helper()
			redis.Do(t, "HSET", "retryd:{meta}:layout", "format", "1", "shards", "7")
		}, []string{"lies in 7 shards, and 16 are asked for", "run with 7 shards"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			c.spoil(t, redis)
			p := start(t, "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--redis-url="+redis.URL())
			if code := p.Wait(); code != 1 {
				t.Errorf("exit status %d", code)
			}
			for _, w := range c.want {
				if !strings.Contains(p.Stderr(), w) {
					t.Errorf("it says nothing of %q:\n%s", w, p.Stderr())
				}
			}
		})
	}
}

func TestServeEndsWhereRedisKeepsLessThanAskedFor(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{
		"everysec":   "makes for durability memory, and everysec is asked for: set appendonly yes",
		"replicated": "of its replicas 0 are connected, and durability replicated asks for at least 1",
	} {
		p := start(t, "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--durability="+level, "--redis-url="+redistest.Start(t).URL())
		if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr(), want) {
			t.Errorf("--durability=%s: exit status %d:\n%s", level, code, p.Stderr())
		}
	}
}

func TestServeEndsWhereRedisComesLateAndIsUnfit(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--port", redistest.FreePort(t), "--maxmemory-policy", "volatile-ttl")
	redis.Stop(t)
	p, addr := startServe(t, "--redis-url="+redis.URL())
	awaitHealth(t, addr, healthpb.HealthCheckResponse_NOT_SERVING)
	redis.Restart(t)
	if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr(), "volatile-ttl") {
		t.Errorf("exit status %d:\n%s", code, p.Stderr())
	}
}

func TestServeFollowsTheEvictionPolicy(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	_, addr := startServe(t, "--redis-url="+redis.URL())
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	redis.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	awaitHealth(t, addr, healthpb.HealthCheckResponse_NOT_SERVING)
	redis.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
}

// TestServeFollowsTheDurability has Redis keep less than was asked for, for a while.
func TestServeFollowsTheDurability(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes")
	p, addr := startServe(t, "--redis-url="+redis.URL(), "--durability=everysec", "--policies="+policyFile(t, quickPolicy))
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	conn := dial(t, addr)
	info, err := retryv1.NewServerServiceClient(conn).GetServerInfo(t.Context(), &retryv1.GetServerInfoRequest{})
	if store := info.GetStore(); err != nil || store.GetDurabilityAsked() != retryv1.Durability_DURABILITY_EVERYSEC ||
		store.GetDurabilityFound() != retryv1.Durability_DURABILITY_EVERYSEC || store.GetKind() != "redis" || info.GetVersion() == "" {
		t.Errorf("%v, %v", info, err)
	}
	redis.Do(t, "CONFIG", "SET", "appendfsync", "no")
	awaitHealth(t, addr, healthpb.HealthCheckResponse_NOT_SERVING)
	retry := retryv1.NewRetryServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := retry.ReportFailure(ctx, quickFailure("a")); status.Code(err) != codes.Unavailable {
		t.Errorf("a report that would be less safe than promised: %v", err)
	}
	redis.Do(t, "CONFIG", "SET", "appendfsync", "everysec")
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	if _, err := retry.ReportFailure(t.Context(), quickFailure("a")); err != nil {
		t.Errorf("a report once it is as safe again: %v", err)
	}
	for _, want := range []string{"redis keeps what is acknowledged", "durability memory, and everysec is asked for", "redis can be used again"} {
		if !strings.Contains(p.Stderr(), want) {
			t.Errorf("the log says nothing of %q:\n%s", want, p.Stderr())
		}
	}
}

// TestServeWarnsWhereNothingIsKept wants a warning, unless it is known.
func TestServeWarnsWhereNothingIsKept(t *testing.T) {
	t.Parallel()
	for level, warns := range map[string]bool{"": true, "memory": false} {
		p, _ := startServe(t, "--redis-url="+redistest.Start(t).URL(), "--durability="+level)
		text := p.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
		if got := strings.Contains(text, "level=WARN") && strings.Contains(text, "KEEPS NOTHING ON DISK"); got != warns {
			t.Errorf("--durability=%s: warned %v:\n%s", level, got, text)
		}
	}
}

func TestServeRefusesWrongSettingsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := execute(t, "serve", "--listen=0.0.0.0:7600", "--redis-url=http://redis", "--drain-timeout=0s",
		"--durability=sure", "--durability-replicas=2",
		"--policies="+policyFile(t, "policies:\n  - {id: p, max_retries: 2}"))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"--listen (or RETRYD_LISTEN)", "give --insecure", "--redis-url (or RETRYD_REDIS_URL)", "--drain-timeout (or RETRYD_DRAIN_TIMEOUT)",
		"--durability (or RETRYD_DURABILITY) is \"sure\": it must be memory", "--durability-replicas (or RETRYD_DURABILITY_REPLICAS) is \"2\"",
		`policy "p": default_action`, `policy "p": display_name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it says nothing of %q:\n%v", want, err)
		}
	}
}

func TestServeListensAnywhereWithInsecure(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := start(t, "serve", "--listen=0.0.0.0:0", "--admin-listen=", "--insecure", "--redis-url="+redis.URL())
	p.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
}

func TestServeTellsNoPassword(t *testing.T) {
	t.Parallel()
	p, _ := startServe(t, "--redis-url=redis://user:s3cret@127.0.0.1:"+redistest.FreePort(t))
	text := p.AwaitLog("word that it waits", func(text string) bool { return strings.Contains(text, "waiting for redis") })
	if strings.Contains(text, "s3cret") {
		t.Errorf("the log holds the password:\n%s", text)
	}
	_, err := execute(t, "serve", "--redis-url=redis://user:s3cret@host/not-a-number")
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
}

// A report is kept over the end of the process that took it.
func TestServeKeepsReportsOverItsOwnDeath(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	args := []string{"--redis-url=" + redis.URL(), "--policies=" + policyFile(t, soonPolicy)}
	p, addr := startServe(t, args...)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	fail(t, retryv1.NewRetryServiceClient(dial(t, addr)), "a")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	_, addr = startServe(t, args...)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	stream, err := subscribe(t.Context(), retryv1.NewRetryServiceClient(dial(t, addr)), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if a := receive(t, stream).GetAttempt(); a.GetTaskId() != "a" || a.GetDelivery() != 1 {
		t.Errorf("delivered: %v", a)
	}
}

// The example of webhooks runs on Redis as it does in memory.
func TestWebhooksExampleOnServe(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	_, addr := startServe(t, "--redis-url="+redis.URL())
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	example := filepath.Join(t.TempDir(), "webhooks")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", example, "github.com/retryd/retryd/examples/webhooks")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := docstest.StartProcess(t, t.TempDir(), nil, example, "-addr="+addr)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit status %d\n%s%s", code, p.Stdout(), p.Stderr())
	}
}

// A SIGHUP brings what the files of policies say by then, and never ends the server.
func TestHangupReadsThePoliciesAgain(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policies := policyFile(t, quickPolicy)
	p, addr := startServe(t, "--redis-url="+redis.URL(), "--policies="+policies)
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	stub := retryv1.NewPolicyServiceClient(dial(t, addr))
	for _, c := range []struct{ file, says, want string }{
		{strings.Replace(quickPolicy, "Quick", "Quicker", 1), "SIGHUP: the policies of the files are in redis", "Quicker"},
		{strings.Replace(quickPolicy, "Quick", "Slow, colour: red", 1), "SIGHUP: the policies stay as they are", "Quicker"},
		{strings.Replace(quickPolicy, "Quick", "Slow", 1), "policies=1", "Slow"},
	} {
		if err := os.WriteFile(policies, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(p.Stderr())
		p.Signal(syscall.SIGHUP)
		p.AwaitLog(c.says, func(text string) bool { return strings.Contains(text[before:], c.says) })
		got, err := stub.GetPolicy(t.Context(), &retryv1.GetPolicyRequest{Id: "quick"})
		if err != nil || got.GetPolicy().GetDisplayName() != c.want {
			t.Errorf("after %q it is %q, %v; want %q", c.says, got.GetPolicy().GetDisplayName(), err, c.want)
		}
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit status %d after SIGTERM", code)
	}
}

// Who restarts servers by themselves should not restart one that can only fail again.
func TestWrongSettingsHaveAnExitCodeOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"serve", "--log-level=loud"}, {"dev", "--log-level=loud"}, {"serve", "--config=nowhere.yaml"}, {"config", "check", "--shards=-1"}, {"serve", "--shards=many"},
	} {
		p := start(t, args...)
		if code := p.Wait(); code != 2 {
			t.Errorf("%q ends with %d, want 2", args, code)
		}
		if text := p.Stderr(); !strings.HasPrefix(text, "retryd: ") || strings.Contains(text, "level=") {
			t.Errorf("%q says %q, want it in words for people", args, text)
		}
	}
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }() // it has served
	p := start(t, "serve", "--admin-listen=", "--listen="+taken.Addr().String())
	if code := p.Wait(); code != 1 {
		t.Errorf("with its port taken it ends with %d, want 1", code)
	}
	if text := p.Stderr(); text != "retryd: --listen (or RETRYD_LISTEN): listen tcp "+taken.Addr().String()+": bind: address already in use\n" {
		t.Errorf("with its port taken it says %q", text)
	}
}

// A second signal ends it at once, however long its drain may take.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p, addr := startServe(t, "--redis-url="+redis.URL(), "--policies="+policyFile(t, soonPolicy), "--drain-timeout=10m")
	awaitHealth(t, addr, healthpb.HealthCheckResponse_SERVING)
	stream, err := subscribe(t.Context(), retryv1.NewRetryServiceClient(dial(t, addr)), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	fail(t, retryv1.NewRetryServiceClient(dial(t, addr)), "held")
	receive(t, stream)
	p.Signal(syscall.SIGTERM)
	if got := receive(t, stream); got.GetDrain() == nil {
		t.Fatalf("it sends %v, want drain", got)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != -1 {
		t.Errorf("exit status %d, want none, since the signal has ended it", code)
	}
}
