package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/peers"
)

// Runtime are the settings of Go's garbage collector, the same for every process
// written in Go, on both sides of each comparison.
type Runtime struct {
	GOGC int `json:"gogc"`
	// MemoryLimit is GOMEMLIMIT, such as "1GiB".
	MemoryLimit string `json:"gomemlimit"`
	// Watched are more arguments of `retryd serve` where it is watched, such as
	// --access FILE, and Token is what calls then bear.
	Watched []string `json:"watched,omitempty"`
	Token   string   `json:"-"`
}

// Tools are the programs that stages are made of. What cannot be had is left out,
// and Missing says why.
type Tools struct {
	// Versions are those of the programs.
	Versions map[string]string

	runtime                                    Runtime
	module                                     string
	dir                                        string
	self, redis, retryd, beanstalkd, node, npm string
	bullMQ                                     string
	postgres                                   *postgres
	missing                                    map[string]error
}

// NewTools finds, installs or builds what the systems need. Those written in Go
// are linked into this program, and only their servers are looked for. It fails
// where nothing could be measured at all.
func NewTools(ctx context.Context, systems []string, runtime Runtime) (*Tools, error) {
	t := &Tools{Versions: make(map[string]string), runtime: runtime, missing: make(map[string]error)}
	var err error
	if t.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if t.dir, err = os.MkdirTemp("", "retryd-bench-tools-"); err != nil {
		return nil, fmt.Errorf("make a directory for programs: %w", err)
	}
	if t.module, err = output(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/retryd/retryd"); err != nil {
		return nil, errors.Join(fmt.Errorf("find the module of retryd (run this in its bench directory): %w", err), t.Close())
	}
	if t.redis, err = t.find(ctx, "redis-server", "redis-server", "--version"); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	for _, name := range systems {
		if err := t.prepare(ctx, name); err != nil {
			t.missing[name] = err
		}
	}
	return t, nil
}

// prepare makes sure that there is what a system needs.
func (t *Tools) prepare(ctx context.Context, name string) error {
	var err error
	switch name {
	case system.Retryd, system.RetrydStream, system.RetrydBare, system.RetrydWatched:
		if t.retryd == "" {
			err = t.build(ctx)
		}
	case system.Beanstalkd:
		t.beanstalkd, err = t.find(ctx, name, "beanstalkd", "-v")
	case system.River:
		err = t.preparePostgres(ctx)
	case system.BullMQ:
		err = t.prepareBullMQ(ctx)
	case system.Faktory:
		err = t.prepareFaktory(ctx)
	default:
		if !slices.Contains(system.Names(), name) {
			err = fmt.Errorf("there is no such system: it must be one of %s, %s, %s",
				strings.Join(system.Names(), ", "), system.BullMQ, system.Faktory)
		}
	}
	return err
}

// Missing says why a system cannot be measured here, nil when it can.
func (t *Tools) Missing(name string) error {
	if err := t.missing[name]; err != nil {
		return fmt.Errorf("%s is skipped: %w", name, err)
	}
	return nil
}

// Close removes what was built.
func (t *Tools) Close() error {
	err := os.RemoveAll(t.dir)
	if t.postgres != nil {
		err = errors.Join(err, t.postgres.close())
	}
	return err
}

// goCommand is a command written in Go, under the settings that all have.
func (t *Tools) goCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "GOGC="+strconv.Itoa(t.runtime.GOGC), "GOMEMLIMIT="+t.runtime.MemoryLimit)
	return cmd
}

// find finds a command, has it installed where it is missing, and notes its
// version.
func (t *Tools) find(ctx context.Context, name, command string, version ...string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		if err := t.install(ctx, command); err != nil {
			return "", err
		}
		if path, err = exec.LookPath(command); err != nil {
			return "", err
		}
	}
	text, err := output(ctx, path, version...)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", command, err)
	}
	t.Versions[name] = text
	return path, nil
}

// install installs the package of a command.
func (t *Tools) install(ctx context.Context, command string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(t.module, "scripts", "ensure.sh"), command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s cannot be installed: %w: %s", command, err, lastLine(string(out)))
	}
	return nil
}

// build builds the product.
func (t *Tools) build(ctx context.Context) error {
	path := filepath.Join(t.dir, "retryd")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/retryd")
	cmd.Dir = t.module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not build: %w:\n%s", err, out)
	}
	revision, err := output(ctx, "git", "-C", t.module, "describe", "--always", "--dirty", "--abbrev=12")
	if err != nil {
		revision = "unknown revision"
	}
	t.retryd, t.Versions[system.Retryd] = path, revision
	return nil
}

// preparePostgres finds Postgres's programs, which Debian keeps out of the path.
func (t *Tools) preparePostgres(ctx context.Context) error {
	bin, err := postgresBin()
	if err != nil {
		installed := t.install(ctx, "initdb")
		if bin, err = postgresBin(); err != nil {
			return errors.Join(err, installed)
		}
	}
	if t.Versions["postgres"], err = output(ctx, filepath.Join(bin, "postgres"), "--version"); err != nil {
		return fmt.Errorf("version of postgres: %w", err)
	}
	t.postgres, err = newPostgres(ctx, bin)
	return err
}

func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// prepareBullMQ installs BullMQ for Node in a directory of its own.
func (t *Tools) prepareBullMQ(ctx context.Context) error {
	var err error
	if t.node, err = t.find(ctx, "node", "node", "--version"); err != nil {
		return err
	}
	if t.npm, err = t.find(ctx, "npm", "npm", "--version"); err != nil {
		return err
	}
	files, err := fs.Sub(peers.BullMQ, "bullmq")
	if err != nil {
		return err
	}
	dir := filepath.Join(t.dir, "bullmq")
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("copy the driver of bullmq: %w", err)
	}
	// Not npm ci, which refuses a lock file that lacks the optional packages of other
	// machines.
	cmd := exec.CommandContext(ctx, t.npm, "install", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w:\n%s", err, out)
	}
	version, err := output(ctx, t.node, "-p", `require(process.argv[1]).version`, filepath.Join(dir, "node_modules", "bullmq", "package.json"))
	if err != nil {
		return fmt.Errorf("version of bullmq: %w", err)
	}
	t.bullMQ, t.Versions[system.BullMQ] = dir, version
	return nil
}

// faktoryModule is the server of Faktory as a Go module.
const faktoryModule = "github.com/contribsys/faktory/cmd/faktory@latest"

// prepareFaktory says why Faktory is not measured.
func (t *Tools) prepareFaktory(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "install", faktoryModule)
	cmd.Env = append(os.Environ(), "GOBIN="+t.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("its Go module does not build: %w: %s", err, lastLine(string(out)))
	}
	return errors.New("it has no driver here: its client's module could not be had when this was written")
}

// output returns what a command prints, without the blanks around it.
func output(ctx context.Context, path string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
		}
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
