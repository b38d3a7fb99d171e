package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/retryd/retryd/scheduler"
)

// thresholds is the flag of the health table: name=healthy:alert, which may be
// given several times, or several with commas between them. Like [duration], it
// is judged by validate.
type thresholds struct {
	// given are the entries as they came.
	given []string
}

// Set implements [pflag.Value].
func (t *thresholds) Set(s string) error {
	t.given = append(t.given, strings.Split(s, ",")...)
	return nil
}

// String implements [pflag.Value].
func (t *thresholds) String() string { return strings.Join(t.given, ",") }

// Type implements [pflag.Value]; it stands for the value in the help.
func (t *thresholds) Type() string { return "name=healthy:alert" }

// Append implements [pflag.SliceValue].
func (t *thresholds) Append(s string) error { return t.Set(s) }

// Replace implements [pflag.SliceValue].
func (t *thresholds) Replace(entries []string) error {
	t.given = nil
	if len(entries) == 0 {
		return nil
	}
	return t.Set(strings.Join(entries, ","))
}

// GetSlice implements [pflag.SliceValue].
func (t *thresholds) GetSlice() []string { return t.given }

// read returns the thresholds, and hands to wrong each entry that is wrong.
func (t *thresholds) read(wrong func(entry string, err error)) scheduler.Thresholds {
	out := make(scheduler.Thresholds)
	for _, entry := range t.given {
		name, threshold, err := readThreshold(entry)
		if _, twice := out[name]; err == nil && twice {
			err = fmt.Errorf("%s is given twice", name)
		}
		if err != nil {
			wrong(entry, err)
			continue
		}
		out[name] = threshold
	}
	return out
}

func readThreshold(entry string) (name string, t scheduler.Threshold, err error) {
	name, bounds, _ := strings.Cut(entry, "=")
	healthy, alert, _ := strings.Cut(bounds, ":")
	if t.Healthy, err = strconv.ParseFloat(healthy, 64); err == nil {
		t.Alert, err = strconv.ParseFloat(alert, 64)
	}
	if err != nil {
		return "", t, fmt.Errorf("it must be name=healthy:alert, two numbers, such as retry_rate=0.05:0.1")
	}
	return name, t, scheduler.Thresholds{name: t}.Validate()
}
