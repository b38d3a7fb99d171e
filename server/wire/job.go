package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// Job returns a job in the domain's terms, without the fields that the server
// sets.
func Job(j *retryv1.Job) scheduler.Job {
	out := scheduler.Job{ID: j.GetId(), DisplayName: j.GetDisplayName(), Policy: j.GetPolicy()}
	if len(j.GetEnvironments()) > 0 {
		out.Environments = make(map[string]string, len(j.GetEnvironments()))
		for name, e := range j.GetEnvironments() {
			out.Environments[name] = e.GetPolicy()
		}
	}
	return out
}

// JobRecord returns a job as it is kept, with the fields that the server sets.
func JobRecord(rec *scheduler.JobRecord) *retryv1.Job {
	out := &retryv1.Job{
		Id:          rec.Job.ID,
		DisplayName: rec.Job.DisplayName,
		Policy:      rec.Job.Policy,
		Revision:    rec.Revision,
		Etag:        rec.Etag(),
		CreateTime:  Time(rec.CreateMS),
		UpdateTime:  Time(rec.UpdateMS),
	}
	if len(rec.Job.Environments) > 0 {
		out.Environments = make(map[string]*retryv1.JobEnvironment, len(rec.Job.Environments))
		for name, id := range rec.Job.Environments {
			out.Environments[name] = &retryv1.JobEnvironment{Policy: id}
		}
	}
	return out
}
