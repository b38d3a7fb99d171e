package scheduler

import "testing"

// A task keeps one context, however many attempts it takes.
func TestOneTraceContextIsKept(t *testing.T) {
	t.Parallel()
	first, second := TraceContext{Parent: "first", State: "s"}, TraceContext{Parent: "second"}
	task := &Task{}
	for i, step := range []struct{ given, want TraceContext }{
		{TraceContext{}, TraceContext{}},
		{first, first},
		{TraceContext{}, first},
		{second, second},
		{TraceContext{}, second},
	} {
		before := task.Trace()
		history, _ := task.withRecord(&AttemptRecord{Attempt: i + 1, Trace: step.given})
		if task.Trace() != before {
			t.Error("the task as it was has another context now")
		}
		task = &Task{History: history}
		if got := task.Trace(); got != step.want {
			t.Errorf("after record %d the context is %+v, want %+v", i+1, got, step.want)
		}
		kept := 0
		for _, rec := range history {
			if rec.Trace != (TraceContext{}) {
				kept++
			}
		}
		if want := min(i, 1); kept != want {
			t.Errorf("after record %d there are %d contexts, want %d", i+1, kept, want)
		}
	}
	task.end(StateSucceeded, 1, 1)
	if got := task.Trace(); got != (TraceContext{}) {
		t.Errorf("an ended task keeps %+v", got)
	}
}
