package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if len(os.Args) == 3 && os.Args[1] == workerCommand {
		// It is told to end by SIGTERM alone.
		stop()
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if err := runWorker(context.Background(), os.Args[2], os.Stdout, log); err != nil {
			log.Error("the worker failed", "error", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 3 && os.Args[1] == syncsCommand {
		if err := execWithSyncs(os.Args[2], os.Args[3:]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are what the program was called with.
type options struct {
	only       []string
	topologies []Topology
	seed       uint64
	short      bool
	out, bin   string
	jobs       []job
}

// errBroken is returned for a run in which something was as it must not be.
var errBroken = errors.New("not all has held")

// run returns the exit status: 0 when all has held, 1 when not, 2 for wrong arguments.
func run(ctx context.Context, args []string, out, progress io.Writer) int {
	opts, err := parse(args, progress)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(progress, "faults:", err)
		}
		return 2
	}
	if err := runAll(ctx, opts, out, progress); err != nil {
		_, _ = fmt.Fprintln(progress, "faults:", err)
		return 1
	}
	return 0
}

func parse(args []string, usage io.Writer) (*options, error) {
	opts := new(options)
	var only, topologies string
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&only, "only", "", "ids of faults, such as F1,F8; empty for all")
	flags.StringVar(&topologies, "topology", "standalone,sentinel,cluster", "on which Redis")
	flags.Uint64Var(&opts.seed, "seed", 0, "for all draws; 0 draws one")
	flags.BoolVar(&opts.short, "short", false, "a selection, each shorter, on one topology: what CI runs")
	flags.StringVar(&opts.out, "out", "", "directory for results.json, results.md and the logs of what was broken; empty for one in the temporary directory")
	flags.StringVar(&opts.bin, "retryd", "", "the retryd to run; empty builds it")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if only != "" {
		opts.only = strings.Split(only, ",")
	}
	for name := range strings.SplitSeq(topologies, ",") {
		t := Topology(name)
		if !slices.Contains(everywhere, t) {
			return nil, fmt.Errorf("-topology names %q: there are standalone, sentinel and cluster", name)
		}
		opts.topologies = append(opts.topologies, t)
	}
	if opts.seed == 0 {
		opts.seed = rand.Uint64N(1 << 32) //nolint:gosec // it is printed
	}
	var err error
	opts.jobs, err = plan(registry(), opts.only, opts.topologies, opts.short)
	return opts, err
}

func runAll(ctx context.Context, opts *options, out, progress io.Writer) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(progress, format+"\n", args...) }
	temp, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if opts.out == "" {
		if opts.out, err = os.MkdirTemp("", "faults-out-"); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	if err := os.MkdirAll(opts.out, 0o755); err != nil { //nolint:gosec // results are for everybody
		return fmt.Errorf("make the directory of the results: %w", err)
	}
	results := &Results{Seed: opts.seed, Short: opts.short, Began: time.Now()}
	if err := build(ctx, opts, temp, results); err != nil {
		return err
	}
	say("seed %d, results in %s", opts.seed, opts.out)
	broken := false
	for _, j := range opts.jobs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		res := runJob(ctx, opts, j)
		results.Rows = append(results.Rows, res)
		broken = broken || len(res.Broken) > 0
		say("%s on %s: %s, %d s", j.ID, j.on, res.verdict(), res.TookMS/1000)
		for _, b := range res.Broken {
			say("    %s", strings.ReplaceAll(b, "\n", "\n    "))
		}
		// What there is so far is kept also when the run is ended.
		if err := results.write(opts.out); err != nil {
			return err
		}
	}
	results.table(out)
	if broken {
		return fmt.Errorf("%w; run the same with -seed %d", errBroken, opts.seed)
	}
	return nil
}

// build makes the binary, and notes versions.
func build(ctx context.Context, opts *options, dir string, results *Results) error {
	if opts.bin == "" {
		opts.bin = filepath.Join(dir, "retryd")
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", opts.bin, "github.com/retryd/retryd/cmd/retryd")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build retryd: %w\n%s", err, text)
		}
	}
	for into, cmd := range map[*string]*exec.Cmd{
		&results.Version: exec.CommandContext(ctx, opts.bin, "version"),
		&results.Redis:   exec.CommandContext(ctx, "redis-server", "--version"),
	} {
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("run %s: %w", cmd, err)
		}
		*into = strings.TrimSpace(string(text))
	}
	return nil
}

// jobTimeout is how long one fault may take on one topology.
const jobTimeout = 8 * time.Minute

// runJob runs one fault on one topology, in a world of its own.
func runJob(ctx context.Context, opts *options, j job) (res Result) {
	began := time.Now()
	res = Result{ID: j.ID, Name: j.Name, Topology: j.on}
	dir, err := os.MkdirTemp("", "fault-")
	if err != nil {
		res.Broken = append(res.Broken, err.Error())
		return res
	}
	defer func() {
		res.TookMS = time.Since(began).Milliseconds()
		if err := keepLogs(opts.out, dir, &res); err != nil {
			res.Broken = append(res.Broken, err.Error())
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, jobTimeout, fmt.Errorf("it takes longer than %s", jobTimeout))
	defer cancel()
	w, err := newWorld(ctx, opts, j, dir)
	if cannot, ok := errors.AsType[*cannotError](err); ok {
		res.Skipped = cannot.why
		return res
	}
	if err != nil {
		res.Broken = append(res.Broken, err.Error())
		return res
	}
	res.Own, err = j.Run(ctx, w)
	// Also what has failed half-way tells something by its account.
	err = errors.Join(err, w.account(ctx, &res), w.close(ctx))
	if j.Audited != nil {
		res.Own = append(res.Own, j.Audited(&res.Audit)...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	res.Broken = append(res.Broken, w.broken...)
	if err != nil {
		res.Broken = append(res.Broken, err.Error())
	}
	return res
}

// keepLogs keeps the logs of what was broken, and removes all others.
func keepLogs(out, dir string, res *Result) error {
	if len(res.Broken) == 0 {
		return os.RemoveAll(dir)
	}
	res.Logs = filepath.Join(out, strings.ReplaceAll(res.ID, " ", "-")+"-"+string(res.Topology))
	if err := os.RemoveAll(res.Logs); err != nil {
		return err
	}
	return errors.Join(os.CopyFS(res.Logs, os.DirFS(dir)), os.RemoveAll(dir))
}
