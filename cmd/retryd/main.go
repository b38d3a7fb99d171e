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
	ctx, cancel := context.WithCancel(context.Background())
	go stopOnSignals(cancel)
	env := cli.System(version())
	os.Exit(cli.Execute(ctx, newRootCommand(env), env, os.Args[1:]))
}

// stopOnSignals ends what is done by cancel at the first signal, and the process at the
// second, however soon that comes.
func stopOnSignals(cancel context.CancelFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	cancel()
	second := <-signals
	signal.Reset(second)
	if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(second) == nil {
		select {} // it ends by that
	}
	os.Exit(1)
}
