// Command retryd is the retry service and its tools in one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/retryd/retryd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	env := cli.System(version())
	os.Exit(cli.Execute(ctx, newRootCommand(env), env, os.Args[1:]))
}
