package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/retryd/retryd/bench/internal/proc"
	"github.com/retryd/retryd/bench/internal/stage"
	"github.com/retryd/retryd/bench/internal/system"
	"github.com/retryd/retryd/bench/internal/work"
)

// Runner runs cases.
type Runner struct {
	Tools *stage.Tools
	// Progress is told of every run.
	Progress io.Writer
	// Scale multiplies the sizes of works; 1 measures, less only tries out.
	Scale float64
}

// Run runs every case in every round, each on all of its systems, one after the
// other: so whatever the machine does meanwhile is done to all of them. It stops
// early only when ctx ends.
func (r *Runner) Run(ctx context.Context, cases []Case, rounds int) *Results {
	res := &Results{
		Started: time.Now().UTC(), Machine: ThisMachine(), Versions: maps.Clone(r.Tools.Versions), Rounds: rounds,
	}
	for _, name := range Systems(cases) {
		if why := r.Tools.Missing(name); why != nil {
			res.Skipped = append(res.Skipped, Skip{name, why.Error()})
			r.say("%v\n", why)
		}
	}
	for _, c := range cases {
		for _, s := range c.Steps {
			res.Steps = append(res.Steps, StepInfo{ID: s.ID, Title: s.Title, Bytes: s.Bytes, Job: r.sized(s.Job)})
		}
	}
	for round := 1; round <= rounds; round++ {
		for _, c := range cases {
			for i := range c.Systems {
				// Whoever comes first changes from round to round.
				name := c.Systems[(i+round-1)%len(c.Systems)]
				if r.Tools.Missing(name) != nil || ctx.Err() != nil {
					continue
				}
				res.Samples = append(res.Samples, r.runCase(ctx, &c, name, round)...)
			}
		}
	}
	res.Took = time.Since(res.Started)
	return res
}

func (r *Runner) say(format string, args ...any) { _, _ = fmt.Fprintf(r.Progress, format, args...) }

// runCase runs the steps of a case on one system. What fails is told in its
// sample: the others are still worth having.
func (r *Runner) runCase(ctx context.Context, c *Case, name string, round int) []Sample {
	var samples []Sample
	fail := func(step string, err error) {
		samples = append(samples, Sample{Step: step, System: name, Round: round, Error: err.Error()})
		r.say("round %d  %-12s %-14s FAILED: %v\n", round, step, name, err)
	}
	s, err := stage.Open(ctx, r.Tools, name, c.Stage)
	if err != nil {
		fail(c.Steps[0].ID, err)
		return samples
	}
	defer func() {
		if err := s.Close(); err != nil {
			fail(c.ID, err)
		}
	}()
	// Indexes go up from step to step; 10 s of the quickest would not use a gap.
	first := 0
	const gap = 10_000_000
	if c.Pending > 0 {
		job := r.sized(work.Job{Kind: work.Fill, Tasks: c.Pending, Payload: PayloadBytes})
		if _, err := r.fill(ctx, s, name, job); err != nil {
			fail(c.Steps[0].ID, fmt.Errorf("put %d other tasks: %w", job.Tasks, err))
			return samples
		}
		first += gap
	}
	for _, step := range c.Steps {
		job := r.sized(step.Job)
		job.System, job.Addr, job.Token, job.First = name, s.Addr, s.Token, first
		sample, err := r.measure(ctx, s, step, &job)
		if err != nil {
			fail(step.ID, err)
			return samples
		}
		sample.Round = round
		samples = append(samples, *sample)
		r.say("round %d  %-12s %-14s %s\n", round, step.ID, name, outcome(sample))
		first += gap
	}
	return samples
}

// outcome is a sample in a few words.
func outcome(s *Sample) string {
	text := fmt.Sprintf("%8d in %6.2f s, %8.0f/s", s.Tasks, s.Seconds, s.Rate())
	if s.Late != nil {
		text += fmt.Sprintf(", late p50 %.2f p99 %.2f ms, %d early", s.Late.P50, s.Late.P99, s.Late.Early)
	}
	if s.Cut {
		text += ", cut"
	}
	return text
}

// sized is a job at the runner's scale.
func (r *Runner) sized(job work.Job) work.Job {
	job.Tasks = int(float64(job.Tasks) * r.Scale)
	job.Time = time.Duration(float64(job.Time) * r.Scale)
	return job
}

// fill puts tasks that are not measured.
func (r *Runner) fill(ctx context.Context, s *stage.Stage, name string, job work.Job) (*work.Result, error) {
	job.System, job.Addr, job.Token, job.Callers, job.Batch = name, s.Addr, s.Token, batchCallers, batch
	l, err := startLoad(ctx, s, &job)
	if err != nil {
		return nil, err
	}
	res, err := func() (*work.Result, error) {
		if err := l.ready(); err != nil {
			return nil, err
		}
		return l.measure()
	}()
	return res, errors.Join(err, l.close())
}

// measure has a load process do a job, and notes what was used meanwhile.
func (r *Runner) measure(ctx context.Context, s *stage.Stage, step Step, job *work.Job) (*Sample, error) {
	sample := &Sample{Step: step.ID, System: job.System, Start: time.Now().UTC()}
	var err error
	if sample.BytesBefore, err = r.bytes(ctx, s, step.Bytes); err != nil {
		return nil, err
	}
	l, err := startLoad(ctx, s, job)
	if err != nil {
		return nil, err
	}
	if err := r.watch(ctx, s, step, l, sample); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return sample, l.close()
}

// watch fills in a sample while the load is under way.
func (r *Runner) watch(ctx context.Context, s *stage.Stage, step Step, l *load, sample *Sample) error {
	if err := l.ready(); err != nil {
		return err
	}
	var err error
	if sample.BytesReady, err = r.bytes(ctx, s, step.Bytes); err != nil {
		return err
	}
	before, err := use(ctx, s, l)
	if err != nil {
		return err
	}
	result, err := l.measure()
	if err != nil {
		return err
	}
	after, err := use(ctx, s, l)
	if err != nil {
		return err
	}
	sample.Result = *result
	sample.CPU, sample.OtherCPU, sample.StolenCPU = before.until(after)
	sample.BytesAfter, err = r.bytes(ctx, s, step.Bytes)
	return err
}

// used is what has been used of the machine up to some moment.
type used struct {
	cpu             map[string]float64
	machine, stolen float64
}

func use(ctx context.Context, s *stage.Stage, l *load) (*used, error) {
	cpu, err := s.CPU(ctx)
	if err != nil {
		return nil, err
	}
	if cpu["load"], err = proc.CPU(l.PID()); err != nil {
		return nil, err
	}
	u := &used{cpu: cpu}
	u.machine, u.stolen, err = proc.MachineCPU()
	return u, err
}

// until returns what was used from u to after: by the processes of a run, by all
// others, and by the host.
func (u *used) until(after *used) (cpu map[string]float64, other, stolen float64) {
	cpu = make(map[string]float64, len(after.cpu))
	other = after.machine - u.machine
	for name, v := range after.cpu {
		cpu[name] = v - u.cpu[name]
		other -= cpu[name]
	}
	return cpu, max(0, other), after.stolen - u.stolen
}

const (
	restInterval = 100 * time.Millisecond
	restTimeout  = 5 * time.Second
)

// bytes returns what the tasks of a stage take; atRest once that no longer
// changes much, since Redis enlarges its tables bit by bit.
func (r *Runner) bytes(ctx context.Context, s *stage.Stage, atRest bool) (int64, error) {
	n, err := s.Bytes(ctx)
	if !atRest || err != nil {
		return n, err
	}
	tick := time.NewTicker(restInterval)
	defer tick.Stop()
	for end := time.Now().Add(restTimeout); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		now, err := s.Bytes(ctx)
		if err != nil || (now <= n && n-now < n/1000) {
			return now, err
		}
		n = now
	}
	return n, nil
}

// Names are all systems that can be asked for.
func Names() []string { return append(system.Names(), system.BullMQ, system.Faktory) }
