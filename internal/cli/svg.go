package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The measures of the picture, in pixels.
const (
	svgWidth  = 920
	svgLeft   = 110
	svgRight  = 230
	svgTop    = 96
	svgRow    = 26
	svgBottom = 44
)

// svgStyle has a ground of its own, so that the picture can be read on any page, and
// a dark one for readers who have asked for that.
const svgStyle = `text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2933 }
.ground { fill: #ffffff } .title { font-size: 17px; font-weight: 600 } .note { fill: #52606d } .tick { fill: #52606d; font-size: 12px }
.grid { stroke: #d9e2ec } .band { fill: #f5f7fa } .range { fill: #9fc5f0 } .dot { fill: #0b5cad }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb } .ground { fill: #16202b } .note, .tick { fill: #a9b6c3 }
.grid { stroke: #33424f } .band { fill: #1c2833 } .range { fill: #2f5f95 } .dot { fill: #8cc4ff } }`

// writeSVG draws the schedule as a picture that needs nothing else.
func (p *schedule) writeSVG(w io.Writer) error {
	rows, more := p.rows()
	drawn := *p
	drawn.retries, drawn.length = rows, time.Millisecond
	for _, r := range rows {
		drawn.length = max(drawn.length, r.latest, r.at)
	}
	a := drawn.axis()
	room := float64(svgWidth - svgLeft - svgRight)
	x := func(t time.Duration) float64 { return svgLeft + a.place(t)*room }
	bottom := svgTop + svgRow*max(1, len(rows))
	height := bottom + svgBottom

	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	title := "Policy " + p.policy + ": " + p.failures
	line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`, svgWidth, height, svgWidth, height)
	line(`<title>%s</title>`, escaped(title))
	line(`<desc>%s</desc>`, escaped(p.summary()))
	line(`<style>%s</style>`, svgStyle)
	line(`<rect class="ground" width="%d" height="%d"/>`, svgWidth, height)
	line(`<text class="title" x="20" y="32">%s</text>`, escaped(cut(title, 96)))
	line(`<text class="note" x="20" y="54">%s</text>`, escaped(cut(p.summary(), 120)))
	for i := range rows {
		if i%2 == 0 {
			line(`<rect class="band" x="12" y="%d" width="%d" height="%d" rx="4"/>`, svgTop+i*svgRow, svgWidth-24, svgRow)
		}
	}
	for _, t := range a.ticks(0.1) {
		line(`<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x(t.at), svgTop-6, x(t.at), bottom+4)
		line(`<text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(t.at), svgTop-12, t.name)
	}
	for i, r := range rows {
		y := float64(svgTop+i*svgRow) + svgRow/2
		line(`<text x="20" y="%.1f">attempt %d</text>`, y+4.5, r.attempt)
		if width := x(r.latest) - x(r.earliest); width > 0 {
			line(`<rect class="range" x="%.1f" y="%.1f" width="%.1f" height="10" rx="5"><title>%s</title></rect>`,
				x(r.earliest), y-5, max(width, 2), escaped("+"+span(r.earliest)+" to +"+span(r.latest)))
		}
		line(`<circle class="dot" cx="%.1f" cy="%.1f" r="4.5"/>`, x(r.at), y)
		line(`<text x="%d" y="%.1f">+%s</text>`, svgWidth-svgRight+16, y+4.5, span(r.at))
		line(`<text class="note" x="%d" y="%.1f">after %s</text>`, svgWidth-120, y+4.5, span(r.after))
	}
	foot := "The dot is when it is tried; the bar is where other tasks' draws may lie."
	if a.knee > 0 {
		foot += " The time axis is drawn out at its beginning."
	}
	if more > 0 {
		foot += fmt.Sprintf(" %d more attempts are not drawn.", more)
	}
	if len(rows) == 0 {
		foot = "There is nothing to draw: no attempt is made again."
	}
	line(`<text class="tick" x="20" y="%d">%s</text>`, height-14, escaped(foot))
	line(`</svg>`)
	_, err := io.WriteString(w, b.String())
	return err
}

// escaped is text as XML has it.
func escaped(s string) string {
	var b strings.Builder
	// Writing into memory does not fail; what XML cannot hold is replaced.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// cut shortens what would not fit.
func cut(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
