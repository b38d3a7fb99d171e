package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long anything may take that must come at once, on a busy machine.
const patience = 30 * time.Second

// Process is one that was started, and may be broken. Its methods are for one
// goroutine at a time.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess starts one that logs to the file name.log in dir, behind what is there.
// Its standard output goes to out, when that is not nil. It does not outlive us, as far
// as the system knows of such a thing.
func startProcess(dir, name string, out io.Writer, path string, args ...string) (*Process, error) {
	p := &Process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(path, args...) //nolint:noctx // it ends by signals, in order
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if out != nil {
		p.cmd.Stdout = out
	}
	// A signal from the terminal is for us, who end the others in order.
	p.cmd.SysProcAttr = apart()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		// How it ended is told by its log, and by its state.
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal, such as SIGSTOP and SIGCONT; a process that has ended gets
// none.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// Kill ends it as a crash would, and waits for it.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop ends it as its operator would, and kills it when it does not end.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = p.Signal(syscall.SIGCONT)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM", p.name, patience), p.Kill())
	}
}

// running says whether it has not ended.
func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// awaitLog waits until what it has logged since offset holds text.
func (p *Process) awaitLog(ctx context.Context, offset int64, text string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		ended := !p.running()
		got, err := logFrom(p.log, offset)
		switch {
		case err == nil && strings.Contains(got, text):
			return nil
		case ended:
			return fmt.Errorf("%s has ended before it said %q: %s", p.name, text, tail(got))
		case time.Now().After(deadline):
			return fmt.Errorf("%s does not say %q within %s: %s", p.name, text, patience, tail(got))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// logSize is how much it has logged, to await what comes after.
func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func logFrom(path string, offset int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<30))
	return string(text), err
}

// tail is the end of a text, which is where a log says what happened.
func tail(text string) string { return text[max(0, len(text)-2000):] }
