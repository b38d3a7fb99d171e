package e2e_test

import (
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler/redisstore"
)

var writeGolden = flag.Bool("write-golden", false, "have the previous version write testdata/<version>.*, where they are not there yet")

// golden is what a version kept and told of the exhibits.
type golden struct {
	// NowMS is when the keys were read.
	NowMS  int64
	Tokens []string
	Told   map[string]json.RawMessage
}

// TestGolden has this version read what versions before it have kept: all of it, as
// they told it, and go on with it. Their files stay for good. A new version's are written by -write-golden.
func TestGolden(t *testing.T) {
	t.Parallel()
	if *writeGolden {
		recordGolden(t, filepath.Join("testdata", previous.name))
	}
	files, err := filepath.Glob("testdata/*.redis")
	if err != nil || !slices.Contains(files, filepath.Join("testdata", previous.name+".redis")) {
		t.Fatalf("there are %q, %v; want those of %s among them", files, err, previous.name)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".redis")
		t.Run(filepath.Base(base), func(t *testing.T) {
			t.Parallel()
			var want golden
			data, err := os.ReadFile(base + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			redis := redistest.Start(t)
			restoreKeys(t, redis, file)
			// The clock goes on where it stood then.
			began := time.Now()
			clock := func() int64 { return want.NowMS + time.Since(began).Milliseconds() }
			store := openRedis(t, redisstore.Config{URL: redis.URL(), Log: slog.New(slog.DiscardHandler), NowMS: clock})
			if err := store.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantVerified(t, store)
			c := serve(t, store).client(t)
			wantSame(t, "read again", lookAt(t, c), want.Told)
			finishExhibits(t, c, want.Tokens)
			wantVerified(t, store)
		})
	}
}

// recordGolden has the previous version make the exhibits, and keeps them.
func recordGolden(t *testing.T, base string) {
	t.Helper()
	redis := redistest.Start(t)
	p := docstest.StartProcess(t, t.TempDir(), nil, before(t, "retryd"), "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--redis-url="+redis.URL(), "--audit-interval=0")
	log := p.AwaitLog("word that it serves", func(text string) bool { return strings.Contains(text, "redis can be used: serving") })
	_, addr, _ := strings.Cut(log, "msg=listening address=")
	addr, _, _ = strings.Cut(addr, " ")
	c := (&replica{addr: addr}).client(t)
	g := golden{Tokens: makeExhibits(t, c)}
	g.Told = lookAt(t, c)
	p.Signal(syscall.SIGTERM)
	p.Wait()
	g.NowMS = time.Now().UnixMilli()
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{base + ".json": append(text, '\n'), base + ".redis": []byte(keysOf(t, redis))} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// keysOf returns commands that make all keys of a Redis, one on a line, each argument
// quoted.
func keysOf(t *testing.T, redis *redistest.Server) string {
	t.Helper()
	var out strings.Builder
	line := func(args ...string) {
		for i, a := range args {
			if i > 0 {
				out.WriteByte(' ')
			}
			out.WriteString(strconv.QuoteToASCII(a))
		}
		out.WriteByte('\n')
	}
	keys := strings.Split(redis.Do(t, "KEYS", "*"), "\n")
	slices.Sort(keys)
	for _, key := range keys {
		switch kind := redis.Do(t, "TYPE", key); kind {
		case "string":
			line("SET", key, redis.Do(t, "GET", key))
		case "hash":
			for field := range strings.SplitSeq(redis.Do(t, "HKEYS", key), "\n") {
				line("HSET", key, field, redis.Do(t, "HGET", key, field))
			}
		case "zset":
			for member := range strings.SplitSeq(redis.Do(t, "ZRANGE", key, "0", "-1"), "\n") {
				line("ZADD", key, redis.Do(t, "ZSCORE", key, member), member)
			}
		default:
			t.Fatalf("%s is of type %s", key, kind)
		}
	}
	return out.String()
}

// restoreKeys makes the keys of a file that keysOf has written.
func restoreKeys(t *testing.T, redis *redistest.Server, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var args []string
		for rest := strings.TrimSpace(line); rest != ""; {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
			arg, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
			args = append(args, arg)
			rest = strings.TrimPrefix(rest[len(quoted):], " ")
		}
		redis.Do(t, args...)
	}
}
