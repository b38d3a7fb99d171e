// Command bench measures retryd beside what its users would pick instead, on the
// same work and the same machine, and writes what it has found as tables, plots
// and raw figures.
//
//	cd bench && go run . [-full] [-only W1,W2] [-systems retryd,asynq] [-rounds 5] [-out out]
//
// It starts every server itself, on free ports of loopback, and ends it again. It
// needs Linux.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/retryd/retryd/bench/internal/plan"
	"github.com/retryd/retryd/bench/internal/report"
	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the harness, or, by its first word, one of the processes that it starts.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "drive":
			return work.Serve(ctx, in, out, system.Open)
		case "serve":
			return serve(ctx, args[1:])
		}
	}
	s, err := parse(args, errOut)
	if err != nil {
		return err
	}
	return measure(ctx, s, out, errOut)
}

// serve is a floor: its name, where it listens, where Redis is.
func serve(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("serve takes a name, an address and that of Redis, not %q", args)
	}
	var config net.ListenConfig
	lis, err := config.Listen(ctx, "tcp", args[1])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return system.ServeFloor(ctx, args[0], args[2], lis)
}

// settings are what the harness was asked for.
type settings struct {
	sel     plan.Selection
	rounds  int
	out     string
	scale   float64
	runtime stage.Runtime
}

func parse(args []string, errOut io.Writer) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	only := flags.String("only", "", "beginnings of the `works` to run, such as W1,W5-1M; empty for all")
	systems := flags.String("systems", "", "`names` of the systems to run, such as retryd,asynq; empty for all: "+strings.Join(plan.Names(), ", "))
	flags.BoolVar(&s.sel.Full, "full", false, "run the long works too")
	flags.IntVar(&s.rounds, "rounds", 5, "how often everything is run")
	flags.StringVar(&s.out, "out", "out", "`directory` for what is found")
	flags.Float64Var(&s.scale, "scale", 1, "factor for all sizes; other than 1 only tries the harness out")
	flags.IntVar(&s.runtime.GOGC, "gogc", 400, "GOGC of all processes written in Go")
	watched := flags.String("watched", "", "more `arguments` of retryd serve in W10, separated by spaces, such as \"--access bench.yaml\"")
	flags.StringVar(&s.runtime.Token, "token", "", "bearer `token` of the calls in W10")
	flags.StringVar(&s.runtime.MemoryLimit, "gomemlimit", "2GiB", "GOMEMLIMIT of all processes written in Go")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.sel.Works, s.sel.Systems = list(*only), list(*systems)
	s.runtime.Watched = strings.Fields(*watched)
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("it takes no arguments, not %q", flags.Args()))
	}
	for _, name := range s.sel.Systems {
		if !slices.Contains(plan.Names(), name) {
			errs = append(errs, fmt.Errorf("-systems has %q: it must be of %s", name, strings.Join(plan.Names(), ", ")))
		}
	}
	if s.rounds < 1 {
		errs = append(errs, fmt.Errorf("-rounds is %d: it must be at least 1", s.rounds))
	}
	if s.scale <= 0 {
		errs = append(errs, fmt.Errorf("-scale is %g: it must be above 0", s.scale))
	}
	return &s, errors.Join(errs...)
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// libraries are the versions of what is linked into this program.
func libraries() map[string]string {
	versions := make(map[string]string)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	versions["go"] = info.GoVersion
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/hibiken/asynq", "github.com/riverqueue/river", "github.com/beanstalkd/go-beanstalk",
			"github.com/redis/go-redis/v9", "google.golang.org/grpc":
			versions[m.Path] = m.Version
		}
	}
	return versions
}

// measure runs what was asked for and writes what was found.
func measure(ctx context.Context, s *settings, out, errOut io.Writer) error {
	cases := plan.Select(plan.Cases(s.sel.Full), s.sel)
	if len(cases) == 0 {
		return fmt.Errorf("no work begins with any of %q and runs on any of %q", s.sel.Works, s.sel.Systems)
	}
	tools, err := stage.NewTools(ctx, plan.Systems(cases), s.runtime)
	if err != nil {
		return err
	}
	runner := &plan.Runner{Tools: tools, Progress: errOut, Scale: s.scale}
	res := runner.Run(ctx, cases, s.rounds)
	res.Settings = map[string]string{
		"GOGC": strconv.Itoa(s.runtime.GOGC), "GOMEMLIMIT": s.runtime.MemoryLimit,
		"watched": strings.Join(s.runtime.Watched, " "), "full": strconv.FormatBool(s.sel.Full), "scale": strconv.FormatFloat(s.scale, 'g', -1, 64),
	}
	maps.Copy(res.Settings, stage.Settings())
	maps.Copy(res.Settings, system.Settings())
	maps.Copy(res.Versions, libraries())
	err = errors.Join(report.Write(s.out, res), tools.Close(), ctx.Err())
	if err == nil {
		_, err = fmt.Fprintf(out, "written to %s after %s\n", s.out, res.Took.Round(1e9))
	}
	return err
}
