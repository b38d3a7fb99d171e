package access

import (
	"errors"
	"fmt"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Rule says who may call a method.
type Rule struct {
	// Method is its full name, such as /retry.v1.RetryService/ReportFailure.
	Method string
	// Roles are those of which one is needed, in the namespace that is named. Those
	// of an admin are always among them.
	Roles Role
	// Case names the requests that the rule is for, in words; empty is all for which
	// the method has no other rule.
	Case string
	// fits tells whether a request is of that case.
	fits func(msg any) bool
}

// Rules are all there are. What is not in here is denied.
func Rules() []Rule {
	const (
		report  = Reporter | Worker
		read    = Reporter | Operator
		operate = Operator
		change  = Admin
	)
	rules := []Rule{
		{Method: retryv1.RetryService_ReportFailure_FullMethodName, Roles: report},
		{Method: retryv1.RetryService_ReportSuccess_FullMethodName, Roles: report},
		{Method: retryv1.RetryService_BatchReport_FullMethodName, Roles: report},
		{Method: retryv1.RetryService_NextAttempt_FullMethodName, Roles: report, Case: "by task_id", fits: byTask},
		{Method: retryv1.RetryService_NextAttempt_FullMethodName, Roles: Worker},
		{Method: retryv1.RetryService_ExtendLease_FullMethodName, Roles: report},
		{Method: retryv1.RetryService_ReleaseLease_FullMethodName, Roles: report},
		{Method: retryv1.RetryService_Subscribe_FullMethodName, Roles: Worker | Operator, Case: "with observe", fits: observing},
		{Method: retryv1.RetryService_Subscribe_FullMethodName, Roles: Worker, Case: "outcome and extend on it", fits: settling},
		{Method: retryv1.RetryService_Subscribe_FullMethodName, Roles: Worker},

		{Method: retryv1.PolicyService_GetPolicy_FullMethodName, Roles: read},
		{Method: retryv1.PolicyService_ListPolicies_FullMethodName, Roles: read},
		{Method: retryv1.PolicyService_PreviewPolicy_FullMethodName, Roles: read},
		{Method: retryv1.PolicyService_CreatePolicy_FullMethodName, Roles: change},
		{Method: retryv1.PolicyService_UpdatePolicy_FullMethodName, Roles: change},
		{Method: retryv1.PolicyService_DeletePolicy_FullMethodName, Roles: change},
		{Method: retryv1.PolicyService_UndeletePolicy_FullMethodName, Roles: change},

		{Method: retryv1.JobService_GetJob_FullMethodName, Roles: read},
		{Method: retryv1.JobService_ListJobs_FullMethodName, Roles: read},
		{Method: retryv1.JobService_CreateJob_FullMethodName, Roles: change},
		{Method: retryv1.JobService_UpdateJob_FullMethodName, Roles: change},
		{Method: retryv1.JobService_DeleteJob_FullMethodName, Roles: change},

		{Method: retryv1.TaskService_GetTask_FullMethodName, Roles: read},
		{Method: retryv1.TaskService_ListTasks_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_ListDeadLetterGroups_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_CancelTask_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_RetryNow_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_Reschedule_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_ReplayTask_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_ReplayTasks_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_DiscardTask_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_DiscardTasks_FullMethodName, Roles: operate},
		{Method: retryv1.TaskService_ReleaseHeld_FullMethodName, Roles: operate},

		{Method: retryv1.QueueService_ListQueues_FullMethodName, Roles: operate},
		{Method: retryv1.QueueService_GetQueue_FullMethodName, Roles: operate},
		{Method: retryv1.QueueService_PauseQueue_FullMethodName, Roles: operate},
		{Method: retryv1.QueueService_ResumeQueue_FullMethodName, Roles: operate},

		{Method: retryv1.GroupService_GetGroup_FullMethodName, Roles: read},
		{Method: retryv1.GroupService_DeleteGroup_FullMethodName, Roles: operate},

		{Method: retryv1.ServerService_GetServerInfo_FullMethodName, Roles: anyIdentity},
		{Method: reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName, Roles: anyIdentity},
		{Method: reflectionalphapb.ServerReflection_ServerReflectionInfo_FullMethodName, Roles: anyIdentity},

		// Probes have no credentials, and learn no more than whether it serves.
		{Method: healthpb.Health_Check_FullMethodName, Roles: everybody},
		{Method: healthpb.Health_List_FullMethodName, Roles: everybody},
		{Method: healthpb.Health_Watch_FullMethodName, Roles: everybody},
	}
	for i := range rules {
		rules[i].Roles |= Admin
	}
	return rules
}

func byTask(msg any) bool {
	m, ok := msg.(*retryv1.NextAttemptRequest)
	return ok && m.GetTaskId() != ""
}

func observing(msg any) bool {
	m, ok := msg.(*retryv1.SubscribeRequest)
	return ok && m.GetOpen().GetObserve()
}

// settling reports whether a message of a stream does something to leases: a stream
// that looks on may be open to those who may not.
func settling(msg any) bool {
	m, ok := msg.(*retryv1.SubscribeRequest)
	return ok && (m.GetOutcome() != nil || m.GetExtend() != nil)
}

// defaultNamespace is the one of requests that name none.
const defaultNamespace = "default"

// ofStream stands for the namespace in which the stream was opened.
const ofStream = ""

// namespaces calls need with each namespace that a message names until need
// returns false. It returns false where it cannot tell: such a message is denied.
func namespaces(msg any, need func(namespace string) bool) (known bool) {
	switch m := msg.(type) {
	case *retryv1.SubscribeRequest:
		switch {
		case m.GetOpen() != nil:
			need(named(m.GetOpen().GetNamespace()))
		case settling(m):
			need(ofStream)
		}
	case *retryv1.BatchReportRequest:
		outer := named(m.GetNamespace())
		if !need(outer) {
			return true
		}
		for _, r := range m.GetReports() {
			inner := r.GetFailure().GetNamespace()
			if inner == "" {
				inner = r.GetSuccess().GetNamespace()
			}
			if inner != "" && inner != outer && !need(inner) {
				return true
			}
		}
	case interface{ GetNamespace() string }:
		need(named(m.GetNamespace()))
	default:
		return false
	}
	return true
}

func named(namespace string) string {
	if namespace == "" {
		return defaultNamespace
	}
	return namespace
}

// ruleset are the rules of each method, those of a case first.
type ruleset map[string][]Rule

func newRuleset() ruleset {
	set := make(ruleset)
	for _, r := range Rules() {
		set[r.Method] = append(set[r.Method], r)
	}
	return set
}

// needed are the roles of which one is needed for a message.
func needed(rules []Rule, msg any) Role {
	for i := range rules {
		if rules[i].fits == nil || rules[i].fits(msg) {
			return rules[i].Roles
		}
	}
	return 0
}

// CheckMethods returns an error for methods that have no rule, all at once.
func CheckMethods(methods []string) error {
	rules := newRuleset()
	var errs []error
	for _, m := range methods {
		if len(rules[m]) == 0 {
			errs = append(errs, fmt.Errorf("method %s has no rule of access", m))
		}
	}
	return errors.Join(errs...)
}
