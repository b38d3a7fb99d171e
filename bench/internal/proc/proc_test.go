package proc_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/retryd/retryd/bench/internal/proc"
)

func TestCPUCountsWhatAProcessHasStarted(t *testing.T) {
	t.Parallel()
	const work = `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done`
	for name, script := range map[string]string{
		"a child that has ended": `sh -c '` + work + `'; echo done; read -r _`,
		"a child that goes on":   `sh -c '` + work + `; echo done; read -r _'; true`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout = writer
			p, err := proc.Start(t.TempDir(), "worker", cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			used, err := proc.CPU(p.PID())
			if err != nil {
				t.Fatal(err)
			}
			if used < 0.02 {
				t.Errorf("%g s of CPU for 300,000 turns of a loop", used)
			}
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			if _, err := proc.CPU(p.PID()); err == nil {
				t.Error("an ended process has a use")
			}
		})
	}
}

func TestAwaitShowsTheLogOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	p, err := proc.Start(t.TempDir(), "broken", exec.CommandContext(t.Context(), "sh", "-c", "echo cannot bind >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Await(t.Context(), func(context.Context) error { return errors.New("refused") })
	if err == nil || !strings.Contains(err.Error(), "cannot bind") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}

func TestStopEndsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	p, err := proc.Start(t.TempDir(), "sleeper", exec.CommandContext(t.Context(), "sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Stop(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}
