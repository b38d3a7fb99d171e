package cli_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/internal/docstest"
)

// TestExamplesOfOperators runs what the help of the commands for the night shift
// shows, each on a scene of its own.
func TestExamplesOfOperators(t *testing.T) {
	t.Parallel()
	// Nothing is sent to anybody, and files come and go elsewhere.
	stand := strings.NewReplacer("curl -sf -d @- https://hooks.example.com/", "cat", "payload.bin", filepath.Join(t.TempDir(), "payload.bin"))
	inputs := map[string]string{"ids.txt": "order-2\norder-3\n"}
	eachExample(newRoot(&cli.Env{}), []string{"task", "dead", "held", "queue", "group", "watch"}, func(path, line string) {
		if line == "" {
			t.Errorf("%s has no example", path)
			return
		}
		t.Run(line, func(t *testing.T) {
			line, input, _ := strings.Cut(line, " < ")
			commands, err := docstest.Commands(stand.Replace(line))
			if err != nil || len(commands) != 1 {
				t.Fatalf("%q is not one command: %v", line, err)
			}
			args := commands[0].Args
			if !strings.HasPrefix(strings.Join(args, " "), path) {
				t.Fatalf("%q is an example of %s", line, path)
			}
			inBubble(t, func(r *rig) {
				r.scene()
				r.input = inputs[input]
				if args[1] == "queue" && args[2] == "resume" {
					r.run("queue", "pause", "hooks").wants(0)
				}
				ctx, cancel := context.WithCancel(r.t.Context())
				time.AfterFunc(3*time.Hour, cancel)
				if got := r.runUntil(ctx, args[1:]...).wants(0); got.out == "" {
					t.Errorf("it prints nothing; standard error:\n%s", got.err)
				}
			})
		})
	})
}

// eachExample goes through the examples of the commands of those names and below
// them. One that does something and has none is told without a line.
func eachExample(root *cobra.Command, names []string, test func(path, line string)) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			test(cmd.CommandPath(), strings.TrimSpace(line))
		}
		if cmd.Example == "" && !cmd.HasSubCommands() {
			test(cmd.CommandPath(), "")
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	for _, cmd := range root.Commands() {
		if slices.Contains(names, cmd.Name()) {
			walk(cmd)
		}
	}
}
