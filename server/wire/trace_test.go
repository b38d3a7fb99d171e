package wire_test

import (
	"strings"
	"testing"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

func TestTraceContext(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	longest := strings.Repeat("s", 256)
	for name, c := range map[string]struct {
		parent, state string
		want          scheduler.TraceContext
	}{
		"both":                     {good, "a=1,b=2", scheduler.TraceContext{Parent: good, State: "a=1,b=2"}},
		"no state":                 {good, "", scheduler.TraceContext{Parent: good}},
		"the longest state":        {good, longest, scheduler.TraceContext{Parent: good, State: longest}},
		"a longer state":           {good, longest + "s", scheduler.TraceContext{Parent: good}},
		"a state that is no text":  {good, "a=\xff", scheduler.TraceContext{Parent: good}},
		"a state with a control":   {good, "a=\n", scheduler.TraceContext{Parent: good}},
		"a state alone":            {"", "a=1", scheduler.TraceContext{}},
		"a later version":          {"cc" + good[2:] + "-more", "", scheduler.TraceContext{Parent: good}},
		"no version":               {"ff" + good[2:], "", scheduler.TraceContext{}},
		"more in this version":     {good + "-more", "", scheduler.TraceContext{}},
		"stuck to a later version": {"cc" + good[2:] + "0", "", scheduler.TraceContext{}},
		"upper case":               {strings.ToUpper(good), "", scheduler.TraceContext{}},
		"no trace":                 {"00-" + strings.Repeat("0", 32) + good[35:], "", scheduler.TraceContext{}},
		"no span":                  {good[:36] + strings.Repeat("0", 16) + good[52:], "", scheduler.TraceContext{}},
		"no hex":                   {strings.Replace(good, "a", "g", 1), "", scheduler.TraceContext{}},
		"other marks":              {strings.ReplaceAll(good, "-", "_"), "", scheduler.TraceContext{}},
		"cut":                      {good[:54], "", scheduler.TraceContext{}},
	} {
		if got := wire.TraceContext(c.parent, c.state); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
