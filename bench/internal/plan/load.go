package plan

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/retryd/retryd/bench/internal/proc"
	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/work"
)

// load is a load process under way.
type load struct {
	*proc.Process
	in    io.WriteCloser
	out   io.ReadCloser
	lines *bufio.Reader
}

// startLoad starts a load process and gives it its job.
func startLoad(ctx context.Context, s *stage.Stage, job *work.Job) (*load, error) {
	// What is left of an aborted run ends with it.
	cmd := s.Load(ctx)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	// Not StdoutPipe, which is closed when the process has ended, read or not.
	out, write := io.Pipe()
	cmd.Stdout = write
	p, err := proc.Start(s.Dir(), "load", cmd)
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.Done()
		_ = write.Close()
	}()
	l := &load{Process: p, in: in, out: out, lines: bufio.NewReader(out)}
	if err := json.NewEncoder(in).Encode(job); err != nil {
		return nil, errors.Join(fmt.Errorf("tell the load its job: %w", err), l.close())
	}
	return l, nil
}

// message waits for the next thing that the process says.
func (l *load) message() (work.Message, error) {
	line, err := l.lines.ReadBytes('\n')
	if err != nil {
		return work.Message{}, fmt.Errorf("the load has ended before its time; its log ends with:\n%s", l.Log())
	}
	m, err := work.ParseMessage(line)
	if err != nil {
		return work.Message{}, fmt.Errorf("the load said %q: %w", line, err)
	}
	if m.Error != "" {
		return work.Message{}, errors.New(m.Error)
	}
	return m, nil
}

// ready waits until the process has prepared.
func (l *load) ready() error {
	m, err := l.message()
	if err == nil && !m.Ready {
		err = errors.New("the load has a result and was not told to begin")
	}
	return err
}

// measure has the process begin, and waits for its result.
func (l *load) measure() (*work.Result, error) {
	if _, err := io.WriteString(l.in, "go\n"); err != nil {
		return nil, fmt.Errorf("tell the load to begin: %w", err)
	}
	m, err := l.message()
	if err == nil && m.Result == nil {
		err = errors.New("the load has ended without a result")
	}
	return m.Result, err
}

// close ends the process.
func (l *load) close() error {
	_ = l.in.Close()
	err := l.Stop()
	return errors.Join(err, l.out.Close())
}
