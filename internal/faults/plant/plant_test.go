package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEveryBugFitsAndBuilds keeps the patches up with the code: those that do not fit
// any more would show nothing.
func TestEveryBugFitsAndBuilds(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	patches := filepath.Join(root, "internal", "faults", "bugs")
	bugs, err := bugsIn(patches, catalog())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range bugs {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			p, err := one.plant(t.Context(), root, patches, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{root: root}
			if err := b.goBuild(t.Context(), p.overlay, "build", p.packages...); err != nil {
				t.Error(err)
			}
			for _, c := range one.checks {
				if (c.fault == "") == (len(c.test) == 0) || c.finds == "" {
					t.Errorf("its check %+v must be a fault or a test, and find something", c)
				}
			}
		})
	}
}

// tree writes files, by their paths, into a directory of their own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const change = `--- a/x/lua/a.lua
+++ b/x/lua/a.lua
@@ -2,3 +2,3 @@
 one
-two
+2
 three
`

func TestPlant(t *testing.T) {
	t.Parallel()
	patches := tree(t, map[string]string{"bug.patch": change, "empty.patch": "nothing\n"})
	root := tree(t, map[string]string{"x/lua/a.lua": "zero\nhalf\none\ntwo\nthree\n"})
	dir := t.TempDir()
	p, err := (&bug{name: "bug"}).plant(t.Context(), root, patches, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "x", "lua", "a.lua")); err != nil || string(got) != "zero\nhalf\none\n2\nthree\n" {
		t.Errorf("the copy is %q, error %v", got, err)
	}
	if len(p.packages) != 1 || p.packages[0] != "./x" {
		t.Errorf("it is in %q, want the package that has the script", p.packages)
	}
	overlay, err := os.ReadFile(p.overlay)
	if want := filepath.Join(root, "x", "lua", "a.lua"); err != nil || !strings.Contains(string(overlay), want) {
		t.Errorf("the overlay is %s, error %v, want %s in it", overlay, err, want)
	}
	moved := tree(t, map[string]string{"x/lua/a.lua": "one\nTWO\nthree\n"})
	if _, err := (&bug{name: "bug"}).plant(t.Context(), moved, patches, t.TempDir()); err == nil || !strings.Contains(err.Error(), "does not fit any more") {
		t.Errorf("a patch of other lines: error %v", err)
	}
	if _, err := (&bug{name: "empty"}).plant(t.Context(), root, patches, t.TempDir()); err == nil || !strings.Contains(err.Error(), "changes no file") {
		t.Errorf("a patch of nothing: error %v", err)
	}
}

func TestBugsIn(t *testing.T) {
	t.Parallel()
	listed := []*bug{{name: "known"}}
	got, err := bugsIn(tree(t, map[string]string{"known.patch": change, "sim-much-too-late.patch": change}), listed)
	if err != nil || names(got) != "known, sim-much-too-late" || got[1].title != "much too late" || len(got[1].checks) != 1 {
		t.Errorf("%s, error %v", names(got), err)
	}
	if _, err := bugsIn(tree(t, map[string]string{"stray.patch": change}), listed); err == nil ||
		!strings.Contains(err.Error(), "stray.patch is not in the catalog") || !strings.Contains(err.Error(), "there is no known.patch") {
		t.Errorf("patches that are not those of the catalog: error %v", err)
	}
	if _, err := chosen(got, []string{"none"}); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("a bug that there is not: error %v", err)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	one := &bug{title: "no jitter"}
	var out bytes.Buffer
	writeTable(&out, []row{
		{one, &check{fault: "F35"}, "a spike | of <3>\n", 12 * time.Second},
		{one, &check{test: []string{"./policy", "-run", "^TestJitter$"}}, "", time.Second},
	})
	for _, want := range []string{
		"| no jitter | the fault F35 | a spike \\| of &lt;3> | 12 s |\n",
		"| no jitter | TestJitter of policy | **nothing** | 1 s |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s\nwant %s", &out, want)
		}
	}
	if got := lineWith("a\n  b I5: c\nd I5\n", "I5"); got != "b I5: c" {
		t.Errorf("found %q", got)
	}
}

func TestWrongArgumentsAreTold(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"all"}, {"-fast"}} {
		var out, progress bytes.Buffer
		if code := run(t.Context(), args, &out, &progress); code != 2 || progress.Len() == 0 {
			t.Errorf("%q: status %d, %s", args, code, &progress)
		}
	}
}
