package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/retryd/retryd/internal/conformance"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	files, err := conformance.Load("../../policy/testdata/conformance")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name == "" || f.System == "" || len(f.Policies) == 0 || len(f.Cases) == 0 {
			t.Errorf("%q has %d policies and %d cases", f.Name, len(f.Policies), len(f.Cases))
		}
		for _, p := range f.Policies {
			if got, ok := f.Policy(p.ID); !ok || len(got.JSON) == 0 {
				t.Errorf("%s: no policy %q", f.Name, p.ID)
			}
		}
	}
}

// TestLoadRefuses what no test would look at.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	policy := func(p string) string { return `{"policies": [` + p + `]}` }
	for name, text := range map[string]string{
		"an unknown field":        `{"kases": []}`,
		"an unknown policy field": policy(`{"id": "p", "max_retry": 3}`),
		"a duration in minutes":   policy(`{"id": "p", "fixed": {"delay": "5m"}}`),
		"a duration in words":     policy(`{"id": "p", "fixed": {"delay": "s"}}`),
		"an unknown action":       policy(`{"id": "p", "default_action": "RETRY"}`),
		"an unknown day":          policy(`{"id": "p", "pause_windows": [{"days": ["MONDAY"]}]}`),
		"a case of no policy":     `{"cases": [{"name": "c", "policy": "p", "start": "2026-01-01T00:00:00Z", "steps": [{"failure": {}, "expect": {}}]}]}`,
		"a case of no steps":      `{"cases": [{"name": "c", "policy": "p", "start": "2026-01-01T00:00:00Z"}]}`,
		"no JSON":                 `cases:`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := conformance.Load(dir); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := conformance.Load(t.TempDir()); err == nil {
		t.Error("an empty directory is taken")
	}
}
