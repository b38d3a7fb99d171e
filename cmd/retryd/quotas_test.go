package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func TestQuotasExampleIsRead(t *testing.T) {
	t.Parallel()
	got, _, err := readQuotas(filepath.Join("..", "..", "deploy", "quotas.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (scheduler.Quota{500, 100_000, 268_435_456, 50, 2000}); got.Default != want {
		t.Errorf("default %v, want %v", got.Default, want)
	}
	for name, want := range map[string]scheduler.Quota{
		"billing": {5000, 2_000_000, 0, 50, 2000},
		"trial":   {10, 100_000, 268_435_456, 2, 20},
	} {
		if got.Namespaces[name] != want {
			t.Errorf("%s: %v, want %v", name, got.Namespaces[name], want)
		}
	}
}

func TestBadQuotasAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"only comments", "# none\n", ""},
		{"an empty default", "default:\nnamespaces:\n", ""},
		{"no YAML", "default: [", "q.yaml is not YAML"},
		{"two documents", "default: {}\n---\ndefault: {}\n", "q.yaml holds more than one YAML document; put all quotas into one"},
		{"a list", "- default\n", "q.yaml:1: the file must hold default and namespaces"},
		{
			"many things",
			"default:\n  streams: 0\n  stream: 5\n  leases_out: many\n  pending_tasks: [1]\n" +
				"namespaces:\n  'a b':\n    streams: 1.5\n    streams: 5\n  c: 7\nnamespace: {}\n",
			`q.yaml:2: default.streams is "0": it must be a whole number from 1 to 1000000000000000, or unlimited
q.yaml:3: default has no limit "stream": there are reports_per_second, pending_tasks, pending_bytes, streams, leases_out
q.yaml:4: default.leases_out is "many": it must be a whole number from 1 to 1000000000000000, or unlimited
q.yaml:5: default.pending_tasks is "": it must be a whole number from 1 to 1000000000000000, or unlimited
q.yaml:7: "a b" cannot be a namespace: it must be 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'
q.yaml:8: namespaces.a b.streams is "1.5": it must be a whole number from 1 to 1000000000000000, or unlimited
q.yaml:9: namespaces.a b has streams on line 8 already
q.yaml:10: namespaces.c must hold limits, such as pending_tasks: 100000
q.yaml:11: "namespace" is not known: there are default and namespaces`,
		},
	} {
		_, err := parseQuotas("q.yaml", []byte(c.text))
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: error\n%v\nwant\n%s", c.name, err, c.want)
		}
	}
}

// TestQuotasFollowTheirFile shows that a file that changes is taken over, and that one that
// is broken, or gone, changes nothing and is told of once.
func TestQuotasFollowTheirFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "quotas.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, nil))
		sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: logger})
		if err != nil {
			t.Fatal(err)
		}
		f := &quotaFile{path: path, log: logger, sched: sched}
		admitted := func(namespace string) int {
			n, _ := sched.AdmitReports(namespace, 100)
			return n
		}
		write("default: {reports_per_second: 7}\n")
		f.look(t.Context())
		if n := admitted("a"); n != 7 {
			t.Errorf("%d admitted, want 7", n)
		}
		for range 3 {
			write("default: {reports: 9}\n")
			f.look(t.Context())
		}
		if n := admitted("b"); n != 7 {
			t.Errorf("%d admitted by a broken file, want 7", n)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.look(t.Context())
		if n := admitted("c"); n != 7 {
			t.Errorf("%d admitted without the file, want 7", n)
		}
		write("default: {reports_per_second: 7}\n")
		for range 2 {
			f.look(t.Context())
		}
		if n := strings.Count(log.String(), "can be used again"); n != 1 {
			t.Errorf("told %d times that the file is as before:\n%s", n, log.String())
		}
		write("default: {reports_per_second: unlimited}\n")
		f.look(t.Context())
		if n := admitted("d"); n != 100 {
			t.Errorf("%d admitted without a limit, want 100", n)
		}
		if n := strings.Count(log.String(), "quotas have changed"); n != 2 {
			t.Errorf("told of %d changes:\n%s", n, log.String())
		}
	})
}

// TestEmptyFileLiftsNoQuotas shows that a file that is emptied while it is followed changes
// nothing, and that one that says so lifts all quotas.
func TestEmptyFileLiftsNoQuotas(t *testing.T) {
	t.Parallel()
	const limited, lifted = "default: {reports_per_second: 7}\n", 100
	for _, c := range []struct {
		name, before, after string
		want, errors        int
	}{
		{"no bytes", limited, "", 7, 1},
		{"blanks", limited, " \n\t\n", 7, 1},
		{"comments", limited, "# of each namespace\n", 7, 1},
		{"the beginning of a document", limited, "---\n", 7, 1},
		{"an empty default", limited, "default: {}\n", lifted, 0},
		{"an empty mapping", limited, "{}\n", lifted, 0},
		{"empty as before", "", "# still none\n", lifted, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "quotas.yaml")
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				logger := slog.New(slog.NewTextHandler(&log, nil))
				sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: logger})
				if err != nil {
					t.Fatal(err)
				}
				f := &quotaFile{path: path, log: logger, sched: sched}
				for _, text := range []string{c.before, c.after, c.after} {
					if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					f.look(t.Context())
				}
				if n, _ := sched.AdmitReports("a", lifted); n != c.want {
					t.Errorf("%d admitted, want %d", n, c.want)
				}
				if n := strings.Count(log.String(), "holds nothing"); n != c.errors {
					t.Errorf("told of %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

func TestServeTellsWhatIsWrongWithQuotas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "quotas.yaml")
	if err := os.WriteFile(path, []byte("default: {streams: -1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _ := filled(t, "", nil, "--quotas="+path, "--max-streams=0")
	_, _, err := cfg.prepare(newWatch(cfg.config, io.Discard))
	for _, want := range []string{"--quotas (or RETRYD_QUOTAS): " + path + ":1: default.streams", "--max-streams"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %s", err, want)
		}
	}
}
