package main

import (
	"testing"

	"github.com/retryd/retryd/client"
)

func TestAnswersAreHeldToTheFirst(t *testing.T) {
	t.Parallel()
	var task repeated
	first := client.Decision{TaskID: "a", RetriesLeft: 2, Duplicate: true, Explanation: []string{"why"}}
	fresh := first
	fresh.Duplicate = false
	other := first
	other.RetriesLeft = 1
	for _, c := range []struct {
		answer client.Decision
		want   bool
	}{{first, true}, {fresh, true}, {other, false}, {first, true}} {
		if got := task.answered(c.answer); got != c.want {
			t.Errorf("%+v is taken for the same: %t", c.answer, got)
		}
	}
	if task.fresh != 1 || task.duplicates != 3 {
		t.Errorf("%d fresh, %d duplicates", task.fresh, task.duplicates)
	}
}
