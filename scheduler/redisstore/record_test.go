package redisstore_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
	"github.com/retryd/retryd/scheduler/storetest"
)

var update = flag.Bool("update", false, "write the golden files")

var aKey = scheduler.TaskKey{Namespace: "ns", ID: "a"}

func encode(t testFataler, task *scheduler.Task) string {
	t.Helper()
	b, err := redisstore.AppendRecord(nil, task)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(b)
}

// testFataler is what *testing.T, *testing.B, *testing.F and *rapid.T share.
type testFataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func TestRecordsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyTask(aKey).Draw(t, "task")
		record := encode(t, want)
		got, err := redisstore.DecodeRecord(aKey, record)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("came back as\n%+v\nwant\n%+v", got, want)
		}
		for cut := range record {
			if _, err := redisstore.DecodeRecord(aKey, record[:cut]); err == nil {
				t.Fatalf("the first %d of %d bytes are taken for a record", cut, len(record))
			}
		}
		if _, err := redisstore.DecodeRecord(aKey, record+"\x00"); !errors.Is(err, redisstore.ErrGarbage) {
			t.Fatalf("with a byte behind its end: %v", err)
		}
	})
}

// goldenTasks are records whose form is held: what has been stored must be read
// for ever.
func goldenTasks() map[string]*scheduler.Task {
	full := storetest.FullTask("a")
	full.Version = startMS * 1000
	return map[string]*scheduler.Task{
		"full":    full,
		"empty":   {Key: aKey},
		"pending": pendingTask("a"),
		"traced":  tracedTask("a"),
		"ended":   endedTask("a"),
		"bounded": {Key: aKey, State: scheduler.StateHeld, Generation: 1, FirstAttempt: 1, Spec: scheduler.Spec{Queue: "q", DeadlineMS: startMS}, HoldCondition: "fix", HoldMS: startMS},
	}
}

// pendingTask is what most tasks are: an order's webhook that has failed once.
func pendingTask(id string) *scheduler.Task {
	payload := make([]byte, 200)
	for i := range payload {
		payload[i] = byte('a' + i%26)
	}
	d := policy.Decision{
		Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: 1, NextAttempt: 2,
		NextMS: startMS + 33_125, DelayMS: 33_125, RetriesLeft: 3, Rule: "server-errors", LastDelayMS: 33_125,
		Steps: []policy.Step{
			{Code: policy.StepRule, Args: []int64{0, int64(policy.ActionRetry)}, Text: "server-errors"},
			{Code: policy.StepExponential, Args: []int64{1, 30_000, 0x4000000000000000, 30_000}},
			{Code: policy.StepJitter, Args: []int64{1, 0x3fc999999999999a, 24_000, 36_000, 33_125}},
			{Code: policy.StepScheduled, Args: []int64{2, startMS + 33_125, 33_125}},
		},
	}
	return &scheduler.Task{
		Key: scheduler.TaskKey{Namespace: "default", ID: id}, Version: startMS * 1000,
		Spec:  scheduler.Spec{Queue: "webhooks", Policy: "webhook", Payload: payload},
		State: scheduler.StateScheduled, Attempt: 2, Generation: 1, FirstAttempt: 1, Trigger: scheduler.TriggerRetry,
		DueMS: startMS + 33_125, RetriesLeft: 3, FirstFailureMS: startMS, LastDelayMS: 33_125,
		History: []scheduler.AttemptRecord{{
			Attempt: 1, Generation: 1, TimeMS: startMS,
			Failure: policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503, Message: "503 Service Unavailable"}, Decision: d,
			Policy: "webhook", PolicyRevision: 3, Key: 1<<63 | 0x1234567890abcdef, Content: 0x234567890abcdef1, Op: 0x34567890abcdef12,
		}},
	}
}

// tracedTask is the same, reported with a trace context.
func tracedTask(id string) *scheduler.Task {
	task := pendingTask(id)
	task.History[0].Trace = scheduler.TraceContext{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "congo=t61rcWkgMzE"}
	return task
}

// endedTask is that of one short attempt.
func endedTask(id string) *scheduler.Task {
	return &scheduler.Task{
		Key: scheduler.TaskKey{Namespace: "default", ID: id}, Version: startMS * 1000,
		Spec:  scheduler.Spec{Queue: "webhooks", Policy: "webhook"},
		State: scheduler.StateSucceeded, Attempt: 1, Generation: 1, FirstAttempt: 1,
		EndMS: startMS, ExpireMS: startMS + 86_400_000,
		History: []scheduler.AttemptRecord{{
			Attempt: 1, Generation: 1, TimeMS: startMS, Success: true, Outcome: "done",
			Policy: "webhook", Key: 1<<63 | 0x1234567890abcdef, Content: 0x234567890abcdef1, Op: 0x34567890abcdef12,
		}},
	}
}

func TestGoldenRecords(t *testing.T) {
	t.Parallel()
	for name, task := range goldenTasks() {
		record := encode(t, task)
		file := filepath.Join("testdata", "record_"+name+".hex")
		if *update {
			if err := os.WriteFile(file, []byte(wrap(hex.EncodeToString([]byte(record)))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := golden(t, file)
		if record != want {
			t.Errorf("%s is written as\n%x\nand was\n%x\n(tasks that are stored would be read no more)", name, record, want)
		}
		got, err := redisstore.DecodeRecord(task.Key, want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, task) {
			t.Errorf("%s is read as\n%+v\nwant\n%+v", name, got, task)
		}
	}
}

func golden(t testFataler, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v", err)
	}
	record, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(record)
}

func wrap(s string) string {
	var b strings.Builder
	for len(s) > 80 {
		b.WriteString(s[:80] + "\n")
		s = s[80:]
	}
	return b.String() + s + "\n"
}

func TestRecordsOfOtherVersionsAreRefused(t *testing.T) {
	t.Parallel()
	record := []byte(encode(t, endedTask("a")))
	record[8] = 2
	_, err := redisstore.DecodeRecord(aKey, string(record))
	if err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("error %v, want one that names the format", err)
	}
}

func TestWhatHasNoRoomIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*scheduler.Task){
		"due time":    func(t *scheduler.Task) { t.DueMS = 1 << 48 },
		"negative":    func(t *scheduler.Task) { t.DueMS = -1 },
		"fence":       func(t *scheduler.Task) { t.Fence.Number = redisstore.MaxFence + 1 },
		"deliveries":  func(t *scheduler.Task) { t.Delivery = 1 << 32 },
		"expiries":    func(t *scheduler.Task) { t.Expiries = -1 },
		"traceparent": func(t *scheduler.Task) { t.History[0].Trace.Parent = strings.Repeat("0", 1<<8) },
		"worker":      func(t *scheduler.Task) { t.Worker = strings.Repeat("w", 1<<16) },
		"queue":       func(t *scheduler.Task) { t.Spec.Queue = strings.Repeat("q", 1<<16) },
		"group":       func(t *scheduler.Task) { t.Spec.Group = strings.Repeat("g", 1<<8) },
		"deadline":    func(t *scheduler.Task) { t.Spec.DeadlineMS = 1 << 50 },
	} {
		task := pendingTask("a")
		change(task)
		if _, err := redisstore.AppendRecord(nil, task); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for name := range goldenTasks() {
		f.Add(golden(f, filepath.Join("testdata", "record_"+name+".hex")))
	}
	f.Fuzz(func(t *testing.T, record string) {
		task, err := redisstore.DecodeRecord(aKey, record)
		if err != nil {
			return
		}
		again, err := redisstore.AppendRecord(nil, task)
		if err != nil {
			return // a fence that no script has made
		}
		got, err := redisstore.DecodeRecord(aKey, string(again))
		if err != nil || !reflect.DeepEqual(got, task) {
			t.Errorf("%+v came back as %+v, error %v", task, got, err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for name, task := range map[string]*scheduler.Task{"pending": pendingTask("a"), "ended": endedTask("a")} {
		record := encode(b, task)
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 1024)
			for b.Loop() {
				if _, err := redisstore.AppendRecord(buf, task); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(record)), "bytes")
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := redisstore.DecodeRecord(task.Key, record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
