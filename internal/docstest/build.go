package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Root returns the root of the repository, seen from the directory of a test.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// Grpcurl returns the path of the pinned grpcurl, which make builds when it is
// missing.
func Grpcurl(tb testing.TB, root string) string {
	tb.Helper()
	path := filepath.Join(root, ".bin", "grpcurl")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	// Tests of several packages may find it missing at the same time.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	lock, err := os.Create(path + ".lock")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = lock.Close() }() // and so frees it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatal(err)
	}
	run(tb, root, "make", "--silent", ".bin/grpcurl")
	return path
}

// Build builds ./cmd/retryd and returns the path of the binary.
func Build(tb testing.TB, root string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "retryd")
	run(tb, root, "go", "build", "-buildvcs=false", "-o", path, "./cmd/retryd")
	return path
}

func run(tb testing.TB, dir, name string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
