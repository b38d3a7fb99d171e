package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// wideRatio is how many times as long as its first wait a schedule must be to be
// drawn with its time axis drawn out at the beginning.
const wideRatio = 40

// axis places times on a line of the given length.
type axis struct {
	length time.Duration
	// knee is where the axis turns from even to logarithmic; 0 for even.
	knee time.Duration
}

func (p *schedule) axis() axis {
	a := axis{length: p.length}
	for _, r := range p.retries {
		if r.at > 0 {
			if p.length/r.at >= wideRatio {
				a.knee = r.at
			}
			break
		}
	}
	return a
}

// place is where a time lies, from 0 to 1.
func (a axis) place(t time.Duration) float64 {
	t = min(max(t, 0), a.length)
	if a.knee == 0 {
		return float64(t) / float64(a.length)
	}
	return math.Log1p(float64(t)/float64(a.knee)) / math.Log1p(float64(a.length)/float64(a.knee))
}

// roundSteps are lengths of time that people count in.
var roundSteps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day, 3650 * day, 36500 * day,
}

// tick is a round time on the axis.
type tick struct {
	at   time.Duration
	name string
}

// ticks are round times, not nearer to each other than the share of the axis.
func (a axis) ticks(apart float64) []tick {
	out := []tick{{0, "0s"}}
	add := func(t time.Duration) {
		if place := a.place(t); t <= a.length && place-a.place(out[len(out)-1].at) >= apart {
			out = append(out, tick{t, span(t)})
		}
	}
	if a.knee > 0 {
		for _, t := range roundSteps {
			add(t)
		}
		return out
	}
	step := roundSteps[len(roundSteps)-1]
	for i := len(roundSteps) - 1; i >= 0 && float64(roundSteps[i])/float64(a.length) >= apart; i-- {
		step = roundSteps[i]
	}
	for t := step; t <= a.length; t += step {
		add(t)
	}
	return out
}

// chartRows is how many retries a chart shows; more would be no picture.
const chartRows = 40

// rows are the retries that are drawn, and how many are not.
func (p *schedule) rows() (shown []plannedRetry, more int) {
	shown = p.retries[:min(len(p.retries), chartRows)]
	return shown, len(p.retries) - len(shown)
}

// writeChart draws the schedule with the characters of a terminal.
func (p *schedule) writeChart(w io.Writer, width int, colours bool) error {
	rows, more := p.rows()
	drawn := *p
	drawn.retries, drawn.length = rows, time.Millisecond
	for _, r := range rows {
		drawn.length = max(drawn.length, r.latest, r.at)
	}
	if width <= 0 {
		width = 80
	}
	name := func(r plannedRetry) string { return fmt.Sprintf("attempt %d", r.attempt) }
	left := utf8.RuneCountInString(name(rows[len(rows)-1])) + 2
	// The last label may reach beyond the axis.
	room := max(20, min(width, 110)-left-8)
	a := drawn.axis()
	column := func(t time.Duration) int { return int(math.Round(a.place(t) * float64(room-1))) }

	head, marks := []rune(strings.Repeat(" ", room+8)), []rune(strings.Repeat("─", room))
	for _, t := range a.ticks(12 / float64(room)) {
		copy(head[column(t.at):], []rune(t.name))
		marks[column(t.at)] = '┬'
	}
	pad := strings.Repeat(" ", left)
	lines := []string{strings.TrimRight(pad+string(head), " "), pad + string(marks)}
	for _, r := range rows {
		line := []rune(strings.Repeat(" ", room))
		from, to := column(r.earliest), column(r.latest)
		for i := from; i <= to; i++ {
			line[i] = '─'
		}
		if from < to {
			line[from], line[to] = '├', '┤'
		}
		line[column(r.at)] = '●'
		body := strings.TrimRight(string(line), " ")
		bar := strings.TrimLeft(body, " ")
		lines = append(lines, fmt.Sprintf("%-*s", left, name(r))+body[:len(body)-len(bar)]+paint(cell{bar, good}, colours))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
