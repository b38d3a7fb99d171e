package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

const (
	// policies are those that guests and attackers name.
	policies = `policies:
  - {id: soon, display_name: Soon, max_retries: 10, fixed: {delay: 200ms}, default_action: RETRY}
`
	// maxMemory is what the server may take, whatever is done to it.
	maxMemory = 512 << 20
	// judgedFrom is how long attacks must last for their figures to mean something.
	judgedFrom = 5 * time.Second
	// goodAnswer is how long answers may take at the 99th percentile in any case;
	// beyond, not more than twice as long as before the attack.
	goodAnswer = 50 * time.Millisecond
)

// victim is the server under attack.
type victim struct {
	*docstest.Process
	addr, admin string
	// logFile is where its log goes, which is long.
	logFile string
}

// startVictim starts `retryd serve` as users do, with Go's profiles to look into
// it.
func startVictim(t *testing.T) *victim {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policies.yaml")
	if err := os.WriteFile(file, []byte(policies), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &victim{logFile: filepath.Join(t.TempDir(), "log")}
	env := []string{"LOG=" + v.logFile, "GOMEMLIMIT=400MiB"} // as SECURITY.md says
	v.Process = docstest.StartProcess(t, t.TempDir(), env, "sh", "-c", `exec "$@" 2>"$LOG"`, "sh",
		docstest.Build(t, docstest.Root(t)), "serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--pprof",
		"--redis-url="+redistest.Start(t).URL(), "--policies="+file, "--log-level=debug", "--drain-timeout=5s")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for patience := time.After(30 * time.Second); !strings.Contains(v.log(t), "redis can be used: serving"); {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("it does not serve:\n%s", v.log(t))
		}
	}
	addresses := regexp.MustCompile(`msg=listening address=(\S+) admin=(\S+)`).FindStringSubmatch(v.log(t))
	if addresses == nil {
		t.Fatalf("the log does not name the ports:\n%s", v.log(t))
	}
	v.addr, v.admin = addresses[1], addresses[2]
	return v
}

// log is what the server has logged, nothing before it has begun.
func (v *victim) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(v.logFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// TestHostileClients makes every attack, one after the other, on one server with
// one guest.
func TestHostileClients(t *testing.T) {
	v := startVictim(t)
	g := visit(t, v.addr)
	<-time.After(*window)
	base := v.goroutines(t)
	var table strings.Builder
	row := func(cells ...any) {
		for _, c := range cells {
			_, _ = fmt.Fprintf(&table, "| %v ", c)
		}
		table.WriteString("|\n")
	}
	row("attack", "reports before, p50 / p99 / most ms", "meanwhile", "p99, times", "late before", "meanwhile", "p99, times", "memory now, MiB", "the attacker saw")
	row("---", "---", "---", "---", "---", "---", "---", "---", "---")
	for _, at := range attacks() {
		t.Run(at.name, func(t *testing.T) {
			// What was sent by the last one may still be read, slowly.
			v.awaitGoroutines(t, base+100)
			g.look()
			<-time.After(*window)
			before := g.look()
			seen := launch(t, at.name, v.addr)
			during := g.look()
			row(at.name, before.reports, during.reports, times(before.reports, during.reports),
				before.lateness, during.lateness, times(before.lateness, during.lateness), v.memory(t, "VmRSS")>>20, seen)
			if most := max(goodAnswer, at.most, 2*before.reports.p99); judged() && during.reports.p99 > most {
				t.Errorf("one in a hundred answers took more than %s, want at most %s", during.reports.p99, most)
			}
		})
	}
	peak := v.memory(t, "VmHWM")
	t.Logf("at most %d MiB; goroutines: %d before, %d after\n%s", peak>>20, base, v.awaitGoroutines(t, base+50), &table)
	if peak > maxMemory {
		t.Errorf("the server took %d MiB, want at most %d", peak>>20, maxMemory>>20)
	}
	if len(g.failed) > 0 {
		t.Errorf("calls of the guest failed: %v", g.failed)
	}
	log := v.log(t)
	for _, word := range []string{secret, "forged", "panic", "internal error", "DATA RACE"} {
		if i := strings.Index(log, word); i >= 0 {
			t.Errorf("the log says %q: %s", word, log[max(0, i-300):min(len(log), i+3000)])
		}
	}
}

// judged says whether it matters how long answers took: short attacks and the race
// detector make their figures those of chance.
func judged() bool { return *window >= judgedFrom && !raceEnabled }

// times says by how much the 99th percentile has grown.
func times(before, during quantiles) string {
	return fmt.Sprintf("%.1f", float64(during.p99)/float64(max(before.p99, 1)))
}

// memory is a figure of /proc/<pid>/status, in bytes.
func (v *victim) memory(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("/proc tells no %s", field)
	return 0
}

// goroutines is how many the server has.
func (v *victim) goroutines(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.admin+"/debug/pprof/goroutine?debug=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("%v in %.100q", err, text)
	}
	return n
}

// awaitGoroutines waits until there are no more than that many.
func (v *victim) awaitGoroutines(t *testing.T, most int) int {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(20 * time.Second)
	for {
		n := v.goroutines(t)
		if n <= most {
			return n
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Errorf("the server is left with %d goroutines, want at most %d", n, most)
			return n
		}
	}
}
