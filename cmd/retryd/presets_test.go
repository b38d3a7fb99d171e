package main

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

const presetDir = "../../deploy/policies"

// presetIDs are the ready-made policies by their files.
var presetIDs = map[string][]string{
	"email.yaml":   {"email"},
	"gethook.yaml": {"gethook"},
	"gomobile.yaml": {
		"gomobile-none", "gomobile-standard", "gomobile-urgent", "gomobile-multi-day", "gomobile-scheduled",
		"gomobile-fixed", "gomobile-voicemail", "gomobile-flow", "gomobile-paused",
	},
	"payment.yaml": {"payment"},
	"quick.yaml":   {"quick"},
	"smplkit.yaml": {"retry-on-5xx", "no-retries"},
	"sms.yaml":     {"sms"},
	"sqala.yaml":   {"sqala", "sqala-doubling"},
	"twilio.yaml":  {"twilio-sms", "twilio-long"},
	"webhook.yaml": {"webhook"},
}

func idsOf(policies []policy.Policy) []string {
	var ids []string
	for _, p := range policies {
		ids = append(ids, p.ID)
	}
	return ids
}

// Each file can be given to the server by itself.
func TestPresetsApply(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(presetDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != len(presetIDs) {
		t.Errorf("%d files, want %d: %v", len(paths), len(presetIDs), paths)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			policies, err := readPolicies(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := idsOf(policies), presetIDs[filepath.Base(path)]; !slices.Equal(got, want) {
				t.Errorf("policies %v, want %v", got, want)
			}
			sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if err := applyPolicies(t.Context(), slog.Default(), sched, policies); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whoever reads a file learns when to use which policy.
func TestPresetsSayWhenToUseThem(t *testing.T) {
	t.Parallel()
	commented := regexp.MustCompile(`(?m)^  # (?:Use|Copy) it [^\n]+\n(?:  # [^\n]+\n)*  - id: (\S+)$`)
	for name, ids := range presetIDs {
		text, err := os.ReadFile(filepath.Join(presetDir, name))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range commented.FindAllSubmatch(text, -1) {
			got = append(got, string(m[1]))
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%s says when to use %v, it has %v", name, got, ids)
		}
	}
}

// The presets of the systems are the policies that the conformance cases hold
// those systems to.
func TestPresetsConform(t *testing.T) {
	t.Parallel()
	policies, err := readPolicies(presetDir)
	if err != nil {
		t.Fatal(err)
	}
	presets := make(map[string]policy.Policy)
	for _, p := range policies {
		presets[p.ID] = p.Normalize()
	}
	files, err := conformance.Load("../../policy/testdata/conformance")
	if err != nil {
		t.Fatal(err)
	}
	// These are of no use to anybody but the cases.
	onlyCases := []string{"opted-into-nothing", "except-wins"}
	compared := make(map[string]bool)
	for _, f := range files {
		if f.Name == "bounds" {
			continue
		}
		for _, p := range f.Policies {
			if slices.Contains(onlyCases, p.ID) {
				continue
			}
			got, ok := presets[p.ID]
			if !ok {
				t.Errorf("%s: no preset %q", f.Name, p.ID)
				continue
			}
			compared[f.Name] = true
			if want := p.Normalize(); !reflect.DeepEqual(got, want) {
				t.Errorf("preset %s is\n%+v\nwant\n%+v", p.ID, got, want)
			}
		}
	}
	if want := []string{"gethook", "gomobile", "smplkit", "sqala", "twilio"}; !slices.Equal(slices.Sorted(maps.Keys(compared)), want) {
		t.Errorf("compared those of %v, want %v", compared, want)
	}
}

func TestDirectoryOfPolicies(t *testing.T) {
	t.Parallel()
	another := strings.Replace(onePolicy, "id: one", "id: two", 1)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
		fault []string
	}{
		{name: "by the files' names", files: map[string]string{"b.yaml": onePolicy, "a.yaml": another, "notes.txt": "no policy"}, want: []string{"two", "one"}},
		{name: "none", files: map[string]string{"notes.txt": "no policy"}, fault: []string{"holds no file whose name ends in .yaml"}},
		{name: "all that is wrong", files: map[string]string{"a.yaml": onePolicy, "b.yaml": onePolicy, "c.yaml": "policies: 1"}, fault: []string{
			`b.yaml:2: policy "one": id stands in `, `c.yaml:1: policies is "1"; allowed: a list`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readPolicies(dir)
			if c.fault != nil {
				wantError(t, err, c.fault...)
				if prefix := "--policies (or RETRYD_POLICIES): "; !strings.HasPrefix(err.Error(), prefix) {
					t.Errorf("error %q does not begin with %q", err, prefix)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if ids := idsOf(got); !slices.Equal(ids, c.want) {
				t.Errorf("policies %v, want %v", ids, c.want)
			}
		})
	}
}
