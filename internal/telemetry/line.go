package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// line is a line of log on its way: what slog's own handlers would write, in a fifth of
// the time, which matters to those of which there is one for every report.
type line struct {
	buf  []byte
	json bool
}

// begin begins a line at level info.
func (l *line) begin(at time.Time, msg string) {
	if l.json {
		l.buf = append(l.buf, '{')
		l.key(slog.TimeKey)
		l.buf = append(l.buf, '"')
		l.buf = at.AppendFormat(l.buf, time.RFC3339Nano)
		l.buf = append(l.buf, '"')
	} else {
		l.key(slog.TimeKey)
		l.buf = appendMillis(l.buf, at)
	}
	l.str(slog.LevelKey, "INFO")
	l.str(slog.MessageKey, msg)
}

// appendMillis appends a time by RFC 3339 with three digits of the second, for which the
// standard library has no quick way: a time with four has it, and loses the last.
func appendMillis(b []byte, at time.Time) []byte {
	const withFour = len("2006-01-02T15:04:05.0001")
	n := len(b)
	b = at.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(b, time.RFC3339Nano)
	return append(b[:n+withFour-1], b[n+withFour:]...)
}

func (l *line) key(name string) {
	if l.json {
		if len(l.buf) > 1 {
			l.buf = append(l.buf, ',')
		}
		l.buf = append(append(append(l.buf, '"'), name...), '"', ':')
		return
	}
	if len(l.buf) > 0 {
		l.buf = append(l.buf, ' ')
	}
	l.buf = append(append(l.buf, name...), '=')
}

// str adds a text. Its key is one of ours, which need no quotes.
func (l *line) str(key, value string) {
	l.key(key)
	switch {
	case l.json && plain(value):
		l.buf = append(append(append(l.buf, '"'), value...), '"')
	case l.json:
		l.buf = appendJSON(l.buf, value)
	case value == "" || needsQuotes(value):
		l.buf = strconv.AppendQuote(l.buf, value)
	default:
		l.buf = append(l.buf, value...)
	}
}

func (l *line) num(key string, value int64) {
	l.key(key)
	l.buf = strconv.AppendInt(l.buf, value, 10)
}

// end ends the line and returns it.
func (l *line) end() []byte {
	if l.json {
		l.buf = append(l.buf, '}')
	}
	l.buf = append(l.buf, '\n')
	return l.buf
}

// plain says that a text stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendJSON appends a text in quotes.
func appendJSON(b []byte, s string) []byte {
	var quoted bytes.Buffer
	enc := json.NewEncoder(&quoted)
	// As slog has it: a log is no page of HTML.
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		// There is no text for which this happens.
		return strconv.AppendQuote(b, s)
	}
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte{'\n'})...)
}

// needsQuotes says that a text would not be told from what stands around it.
func needsQuotes(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == '"' || c == '=' {
				return true
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return true
		}
		i += size
	}
	return false
}
