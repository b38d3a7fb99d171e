package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/retryd/retryd/internal/docstest"
)

// version is a commit of this repository that was released, or stood for one.
type version struct {
	// name is how its files in testdata are called.
	name, commit string
}

// previous is the version from which this one is upgraded to. With each release it
// becomes the release's commit, and gets golden files: see golden_test.go.
var previous = version{"before-access", "5a27142e69291abb6c67abdfa0a09a3077cae272"}

// built before are the commands of the previous version, by their paths.
var builtBefore struct {
	once sync.Once
	dir  string
	skip string
	err  error
}

// before returns a command of the previous version, which is built from this
// repository's history: retryd, or faults, whose workers are of its client.
func before(t *testing.T, command string) string {
	t.Helper()
	b := &builtBefore
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "retryd-before-"); b.err != nil { //nolint:usetesting // it outlives the test
			return
		}
		src := filepath.Join(b.dir, "src")
		if err := checkOut(docstest.Root(t), src); err != nil {
			b.skip = err.Error()
			return
		}
		// Without their paths the packages are the same each time, and come from the cache.
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir+"/", "./cmd/retryd", "./internal/faults") //nolint:noctx // it is for all tests
		cmd.Dir = src
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build %s: %w\n%s", previous.commit, err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	if b.skip != "" {
		// Whoever has no history has not got what to upgrade from; CI must have it.
		if os.Getenv("CI") != "" {
			t.Fatal(b.skip)
		}
		t.Skip(b.skip)
	}
	return filepath.Join(b.dir, command)
}

// checkOut puts the previous version into a directory. A clone without history
// fetches it.
func checkOut(root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // source is for everybody
		return err
	}
	// The clone may belong to somebody else.
	git := []string{"git", "-c", "safe.directory=*", "-C"}
	archive := func(repo string) error {
		return shell(`"$@" | tar -x -C "$dir"`, dir, append(git, repo, "archive", "--format=tar", previous.commit)...)
	}
	err := archive(root)
	if err == nil {
		return nil
	}
	fetched := filepath.Join(filepath.Dir(dir), "fetched")
	if out, err := exec.Command("git", "init", "-q", "--bare", fetched).CombinedOutput(); err != nil { //nolint:noctx // it is for all tests
		return fmt.Errorf("%w: %s", err, out)
	}
	fetch := `url=$("$@") && git -C "$dir/../fetched" fetch -q --depth 1 "$url" ` + previous.commit
	if err2 := shell(fetch, dir, append(git, root, "remote", "get-url", "origin")...); err2 != nil {
		return fmt.Errorf("the previous version is not in the history of this clone (%w) and cannot be fetched (%w); `git fetch --unshallow` gets it", err, err2)
	}
	return archive(fetched)
}

// shell runs a script with arguments, and dir as a variable.
func shell(script, dir string, args ...string) error {
	cmd := exec.Command("bash", append([]string{"-o", "pipefail", "-c", script, "bash"}, args...)...) //nolint:noctx // it is for all tests
	cmd.Env = append(os.Environ(), "dir="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
