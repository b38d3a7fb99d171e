package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// bug is one that is planted.
type bug struct {
	// name is that of its patch, without the end.
	name string
	// title says what is wrong, for the table.
	title  string
	checks []check
}

// check is what is to catch a bug.
type check struct {
	// test are the arguments of a go test that is run with the bug built in, its
	// package first; nil when fault is set.
	test []string
	// fault is the id of a fault that is run on a retryd with the bug built in.
	fault string
	// finds is in the check's output when it has found this bug, and not another.
	finds string
}

// simulatedBug begins the names of patches for the simulation, which need no entry in
// the catalog: whatever of the simulation fails has caught them.
const simulatedBug = "sim-"

// bugsIn returns the bugs whose patches a directory has: those of the catalog, each of
// which must be there, and those for the simulation.
func bugsIn(dir string, listed []*bug) ([]*bug, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	bugs := slices.Clone(listed)
	var errs []error
	there := make(map[string]bool)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".patch")
		there[name] = true
		if slices.ContainsFunc(listed, func(b *bug) bool { return b.name == name }) {
			continue
		}
		title, ok := strings.CutPrefix(name, simulatedBug)
		if !ok {
			errs = append(errs, fmt.Errorf("%s is not in the catalog", path))
			continue
		}
		bugs = append(bugs, &bug{name: name, title: strings.ReplaceAll(title, "-", " "), checks: []check{simulated("simulation_test.go:")}})
	}
	for _, b := range listed {
		if !there[b.name] {
			errs = append(errs, fmt.Errorf("there is no %s.patch in %s", b.name, dir))
		}
	}
	return bugs, errors.Join(errs...)
}

// filesOf are the files that a patch changes, by their paths from the root.
func filesOf(patch string) ([]string, error) {
	text, err := os.ReadFile(patch)
	if err != nil {
		return nil, fmt.Errorf("read a patch: %w", err)
	}
	var files []string
	for line := range strings.Lines(string(text)) {
		if file, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "--- a/"); ok {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s changes no file", patch)
	}
	return files, nil
}

// planted is a bug whose patched files are there to be built.
type planted struct {
	*bug
	// overlay is what puts them in the place of the files, packages are where they are.
	overlay  string
	packages []string
}

// plant patches copies of the bug's files in dir. A patch that does not fit any more is
// an error.
func (b *bug) plant(ctx context.Context, root, patches, dir string) (*planted, error) {
	patch := filepath.Join(patches, b.name+".patch")
	files, err := filesOf(patch)
	if err != nil {
		return nil, err
	}
	replace := make(map[string]string)
	for _, file := range files {
		from, to := filepath.Join(root, file), filepath.Join(dir, file)
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.name, err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.name, err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.name, err)
		}
		replace[from] = to
	}
	cmd := exec.CommandContext(ctx, "git", "apply", "--whitespace=nowarn", patch)
	cmd.Dir = dir
	// Also within the tree of a repository the copies are none of it.
	cmd.Env = append(os.Environ(), "GIT_DIR="+filepath.Join(dir, "none"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s does not fit any more what is there: make it anew: %w\n%s", patch, err, text)
	}
	for from, to := range replace {
		if same, err := sameText(from, to); err != nil || same {
			return nil, fmt.Errorf("%s leaves %s as it is: %w", patch, from, errors.Join(err))
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	out := &planted{bug: b, overlay: filepath.Join(dir, "overlay.json"), packages: packagesOf(files)}
	return out, os.WriteFile(out.overlay, text, 0o600)
}

func sameText(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	return string(x) == string(y), err
}

// packagesOf are the packages of some files.
func packagesOf(files []string) []string {
	var out []string
	for _, file := range files {
		dir := filepath.Dir(file)
		if filepath.Base(dir) == "lua" {
			// It is a part of the package above.
			dir = filepath.Dir(dir)
		}
		if dir = "./" + dir; !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}
