package docstest_test

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/redistest"
)

var update = flag.Bool("update", false, "put the answers of this run into the files, where they are not as printed")

// file is a file of the documentation.
type file struct {
	// name is its path from the root.
	name   string
	blocks []docstest.Block
	prose  string
}

// files are README.md and all of docs.
func files(t *testing.T) []file {
	t.Helper()
	root := docstest.Root(t)
	paths := []string{filepath.Join(root, "README.md")}
	if err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var out []file
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		// These pages have commands of their own kind, and tests of their own.
		if name == "docs/redis.md" || name == "docs/backup.md" {
			continue
		}
		blocks, prose, err := docstest.Blocks(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, file{name, blocks, prose})
	}
	return out
}

func named(t *testing.T, name string) file {
	t.Helper()
	for _, f := range files(t) {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("there is no %s", name)
	return file{}
}

// Every command works as printed, and answers what is printed.
func TestCommands(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	retryd := docstest.Build(t, root)
	docstest.Grpcurl(t, root)
	for _, f := range files(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := docstest.NewSession(t, root, retryd, nil)
			answers := make(map[int]string)
			if *update {
				s.Rewrite = func(b docstest.Block, answer string) { answers[b.Line] = answer }
			}
			s.Play(f.name, f.blocks)
			if len(answers) > 0 {
				rewrite(t, filepath.Join(root, f.name), f.blocks, answers)
			}
		})
	}
}

// What is printed of a server on memory is what one on Redis answers.
func TestCommandsOnRedis(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	retryd := docstest.Build(t, root)
	// These start servers of their own, with settings of their own.
	alone := []string{"docs/policies.md", "docs/running.md"}
	for _, f := range files(t) {
		if slices.Contains(alone, f.name) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			server := docstest.StartServe(t, root, t.TempDir(), nil, retryd, redistest.Start(t).URL())
			docstest.NewSession(t, root, retryd, server).Play(f.name, f.blocks)
		})
	}
}

// rewrite puts answers into the blocks that open at their lines.
func rewrite(t *testing.T, path string, blocks []docstest.Block, answers map[int]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	// From the last on, so that the lines before keep their numbers.
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(answers))) {
		i := slices.IndexFunc(blocks, func(b docstest.Block) bool { return b.Line == at })
		answer := strings.ReplaceAll(strings.TrimRight(answers[at], "\n"), "\t", "  ")
		lines = slices.Replace(lines, at, at+strings.Count(blocks[i].Text, "\n"), strings.Split(answer, "\n")...)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}
