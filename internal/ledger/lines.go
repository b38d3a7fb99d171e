package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// line is an entry as it goes from a worker's process to the one that keeps the
// ledger: exactly one of its fields is set.
type line struct {
	Handout   *Handout   `json:"handout,omitempty"`
	Extension *Extension `json:"extension,omitempty"`
	Outcome   *Outcome   `json:"outcome,omitempty"`
	Trial     *Trial     `json:"trial,omitempty"`
}

// Writer is a [Sink] that writes each entry as a line at once, so that a process that
// is killed has told all that it knew.
type Writer struct {
	mu  sync.Mutex
	out io.Writer
	err error
}

// NewWriter returns one that writes to out. Entries are below 4 KiB, so that lines to
// a pipe do not tear.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// HandedOut implements [Sink].
func (w *Writer) HandedOut(h Handout) { w.write(line{Handout: &h}) }

// Extended implements [Sink].
func (w *Writer) Extended(e Extension) { w.write(line{Extension: &e}) }

// Settled implements [Sink].
func (w *Writer) Settled(o Outcome) { w.write(line{Outcome: &o}) }

// Tried implements [Sink].
func (w *Writer) Tried(t Trial) { w.write(line{Trial: &t}) }

// Err is the first error of a write, after which no more is written.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) write(l line) {
	text, err := json.Marshal(l)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	if w.err == nil {
		_, w.err = w.out.Write(append(text, '\n'))
	}
}

// Read enters the lines that a [Writer] writes until r ends.
func Read(r io.Reader, into Sink) error {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			// What has no end of line was not told.
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the entries of a worker: %w", err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("read the entries of a worker: %q: %w", text, err)
		}
		switch {
		case l.Handout != nil:
			into.HandedOut(*l.Handout)
		case l.Extension != nil:
			into.Extended(*l.Extension)
		case l.Outcome != nil:
			into.Settled(*l.Outcome)
		case l.Trial != nil:
			into.Tried(*l.Trial)
		default:
			return fmt.Errorf("read the entries of a worker: %q is none", text)
		}
	}
}
