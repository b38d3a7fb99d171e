package cli_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// scene sets up what a night shift may find: tasks in every live state, in the queues
// hooks and charges, and a success.
func (r *rig) scene() {
	r.t.Helper()
	_, err := r.Policies().CreatePolicy(r.t.Context(), &retryv1.CreatePolicyRequest{Policy: &retryv1.Policy{
		Id: "webhook", DisplayName: "Webhook", MaxRetries: 5, DefaultAction: retryv1.Action_ACTION_RETRY,
		Schedule: &retryv1.Policy_Fixed{Fixed: &retryv1.FixedDelay{Delay: durationpb.New(time.Hour)}},
		Rules: []*retryv1.Rule{
			{Name: "bad", Match: &retryv1.Match{Statuses: []string{"422"}}, Action: retryv1.Action_ACTION_DEAD_LETTER},
			{Name: "customer", Match: &retryv1.Match{Statuses: []string{"402"}}, Action: retryv1.Action_ACTION_HOLD, HoldCondition: "customer"},
		},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	hook := func(id string) client.Task {
		return client.Task{
			ID: id, Queue: "hooks", Policy: "webhook", Group: "orders", Payload: []byte(`{"order": "` + id + `"}`),
			Attributes: map[string]string{"tenant": "acme", "trace": "a1"},
		}
	}
	away := client.HTTPFailure(503, "120")
	away.Message, away.Code = "upstream 10.0.0.7 is away", "E17"
	r.fails(hook("order-1"), away)
	r.pass(time.Minute)
	r.fails(client.Task{ID: "order-1"}, client.TimeoutFailure(), client.WithAttempt(2))
	for i := 2; i <= 3; i++ {
		bad := client.HTTPFailure(422, "")
		bad.Message = fmt.Sprintf("order %d has no address", i)
		r.fails(hook(fmt.Sprintf("order-%d", i)), bad)
		r.pass(time.Second)
	}
	r.fails(hook("order-4"), client.Permanent(client.HTTPFailure(410, "")))
	r.fails(client.Task{ID: "charge-1", Queue: "charges", Policy: "webhook"}, client.HTTPFailure(402, ""))
	if _, err := r.ReportSuccess(r.t.Context(), client.Task{ID: "order-0", Queue: "hooks", Group: "orders"}); err != nil {
		r.t.Fatal(err)
	}
}

// fails reports a failure.
func (r *rig) fails(task client.Task, failure error, opts ...client.ReportOption) {
	r.t.Helper()
	if _, err := r.ReportFailure(r.t.Context(), task, failure, opts...); err != nil {
		r.t.Fatal(err)
	}
}

// dead makes so many dead letters of a queue, d-00000 and on.
func (r *rig) dead(queue string, n int) {
	r.t.Helper()
	reports := make([]client.Report, n)
	for i := range reports {
		reports[i] = client.Report{
			Task: client.Task{ID: fmt.Sprintf("d-%05d", i), Queue: queue, Policy: "p"},
			Err:  client.Permanent(errors.New("no such user")),
		}
	}
	for some := range slices.Chunk(reports, 1000) {
		if _, err := r.ReportBatch(r.t.Context(), some); err != nil {
			r.t.Fatal(err)
		}
	}
}

// counts checks how many tasks of a queue are in which state.
func (r *rig) counts(queue string, scheduled, due, held, dead int64) {
	r.t.Helper()
	resp, err := r.Queues().GetQueue(r.t.Context(), &retryv1.GetQueueRequest{Queue: queue})
	if err != nil {
		r.t.Fatal(err)
	}
	if q := resp.GetQueue(); q.GetScheduled() != scheduled || q.GetDue() != due || q.GetHeld() != held || q.GetDead() != dead {
		r.t.Errorf("%s: %d scheduled, %d due, %d held, %d dead; want %d, %d, %d, %d", queue,
			q.GetScheduled(), q.GetDue(), q.GetHeld(), q.GetDead(), scheduled, due, held, dead)
	}
}

// state checks where a task stands.
func (r *rig) state(id string, want client.State) {
	r.t.Helper()
	n, err := r.NextAttempt(r.t.Context(), client.Next{TaskID: id})
	if err != nil {
		r.t.Fatal(err)
	}
	if n.State != want {
		r.t.Errorf("%s is %s, want %s", id, n.State, want)
	}
}

// each runs a test for each name, in a bubble and a scene of its own.
func eachInScene(t *testing.T, tests map[string]func(r *rig)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.scene()
				test(r)
			})
		})
	}
}

// interceptors stand between a command and the server, as onCall and onStream say.
func (r *rig) interceptors() client.Option {
	unary := func(
		ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if r.onCall != nil {
			if err := r.onCall(method); err != nil {
				return err
			}
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	stream := func(
		ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		if r.onStream != nil {
			if err := r.onStream(); err != nil {
				return nil, err
			}
		}
		return open(ctx, desc, cc, method, opts...)
	}
	return client.WithDialOptions(grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream))
}
