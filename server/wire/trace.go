package wire

import (
	"strings"

	"github.com/retryd/retryd/scheduler"
)

const (
	traceparentBytes = 55
	maxTracestate    = 256
)

// TraceContext returns a W3C trace context as it is kept: none where the traceparent
// is not valid, and without its state where that is too long or no plain text. Of a
// version to come it keeps what this one has.
func TraceContext(parent, state string) scheduler.TraceContext {
	if !validTraceparent(parent) {
		return scheduler.TraceContext{}
	}
	if parent = parent[:traceparentBytes]; parent[:2] != "00" {
		parent = "00" + parent[2:]
	}
	if len(state) > maxTracestate || strings.ContainsFunc(state, func(r rune) bool { return r < ' ' || r > '~' }) {
		state = ""
	}
	return scheduler.TraceContext{Parent: parent, State: state}
}

// validTraceparent says whether s begins with version, trace id, span id and flags, in
// lower case, and is no longer unless a later version made it so.
func validTraceparent(s string) bool {
	if len(s) < traceparentBytes || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, span, flags := s[:2], s[3:35], s[36:52], s[53:traceparentBytes]
	if !isHex(version) || !isHex(trace) || !isHex(span) || !isHex(flags) || version == "ff" {
		return false
	}
	if len(s) > traceparentBytes && (version == "00" || s[traceparentBytes] != '-') {
		return false
	}
	return strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
