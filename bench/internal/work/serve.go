package work

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Open connects a driver to the system of a job.
type Open func(ctx context.Context, job *Job) (Driver, error)

// Serve is the life of a load process: it reads its job from in, does it, says so
// on out, and returns when in is closed. An error of the job is told on out.
func Serve(ctx context.Context, in io.Reader, out io.Writer, open Open) error {
	lines := bufio.NewReader(in)
	said := json.NewEncoder(out)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var job Job
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	driver, err := open(ctx, &job)
	if err != nil {
		return said.Encode(Message{Error: err.Error()})
	}
	defer func() { _ = driver.Close() }()
	d := New(&job, driver)
	if err := d.Prepare(ctx); err != nil {
		return said.Encode(Message{Error: "prepare: " + err.Error()})
	}
	if err := said.Encode(Message{Ready: true}); err != nil {
		return err
	}
	if _, err := lines.ReadBytes('\n'); err != nil {
		return fmt.Errorf("wait to begin: %w", err)
	}
	res, err := d.Run(ctx)
	if err != nil {
		return said.Encode(Message{Error: err.Error()})
	}
	if err := said.Encode(Message{Result: res}); err != nil {
		return err
	}
	if _, err := lines.ReadBytes('\n'); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the end: %w", err)
	}
	return nil
}
