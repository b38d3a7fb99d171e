package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(floodEnv); spec != "" {
		os.Exit(runFlood(spec))
	}
	code := redistest.Run(m)
	for _, dir := range []string{built.dir, builtBefore.dir} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// built is the binary of retryd that all tests here share.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// retryd builds cmd/retryd, once, and returns its path. It is built as this test
// is: with the race detector where that is on, which looks into the processes as
// well then, and needs nothing compiled that has not been for the tests.
func retryd(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "retryd-e2e-"); built.err != nil { //nolint:usetesting // it outlives the test
			return
		}
		args := []string{"build", "-buildvcs=false", "-o", filepath.Join(built.dir, "retryd")}
		if raceEnabled {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "./cmd/retryd")...) //nolint:noctx // it is for all tests
		cmd.Dir = docstest.Root(tb)
		var out []byte
		if out, built.err = cmd.CombinedOutput(); built.err != nil {
			tb.Logf("%s:\n%s", cmd, out)
		}
	})
	if built.err != nil {
		tb.Fatalf("build retryd: %v", built.err)
	}
	return filepath.Join(built.dir, "retryd")
}
