package redisstore_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// aJob has every field set.
func aJob() *scheduler.JobRecord {
	return &scheduler.JobRecord{
		Namespace: "ns",
		Job: scheduler.Job{
			ID: "j", DisplayName: "Ü", Policy: "p",
			Environments: map[string]string{"eu:west/1": "careful", "test": ""},
		},
		Revision: 7, CreateMS: 1, UpdateMS: 2,
	}
}

func TestGoldenJob(t *testing.T) {
	t.Parallel()
	want := aJob()
	kept, err := redisstore.EncodeJob(want)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "job.golden")
	if *update {
		if err := os.WriteFile(file, []byte(kept+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden := strings.TrimSuffix(string(text), "\n")
	if kept != golden {
		t.Errorf("a job is written as\n%s\nand was\n%s\n(jobs that are stored would be read no more)", kept, golden)
	}
	got, err := redisstore.DecodeJob("ns", golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read as\n%+v\nwant\n%+v", got, want)
	}
}

func FuzzDecodeJob(f *testing.F) {
	kept, err := redisstore.EncodeJob(aJob())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept)
	f.Add("1 {}")
	f.Add("12")
	f.Fuzz(func(t *testing.T, kept string) {
		if rec, err := redisstore.DecodeJob("ns", kept); (rec == nil) == (err == nil) {
			t.Errorf("%+v, error %v", rec, err)
		}
	})
}
