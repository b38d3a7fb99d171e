package client

import (
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Client talks to one retryd server, or to several replicas behind one name. It
// is safe for concurrent use, and one is enough for a program.
type Client struct {
	namespace string
	log       *slog.Logger
	conn      *conn
	retry     retryv1.RetryServiceClient
	policies  retryv1.PolicyServiceClient
	jobs      retryv1.JobServiceClient
	tasks     retryv1.TaskServiceClient
	queues    retryv1.QueueServiceClient
	groups    retryv1.GroupServiceClient
	server    retryv1.ServerServiceClient
	// close closes the connection that New made; nil when the caller brought it.
	close func() error
}

// New returns a client of the server at target, a gRPC name such as
// "retryd.example.com:7600", "dns:///retryd:7600" or "localhost:7600". Where the
// name has several addresses, calls and streams go round all of them.
//
// It does not connect: a server that is away is noticed by the first call.
// Unless [WithTLS], [WithCredentials] or [WithInsecure] say otherwise, the connection is
// TLS with the system's roots, except to this machine itself (localhost, a
// loopback address, a Unix socket), where it is plain.
func New(target string, opts ...Option) (*Client, error) {
	cfg := config{
		log:          slog.Default(),
		retryTimeout: defaultRetryTimeout,
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	c := &Client{namespace: cfg.namespace, log: cfg.log}
	over := cfg.conn
	if over != nil && cfg.token != nil {
		return nil, errors.New("make a client: WithToken stands beside WithConn, whose connection is not the client's to add to")
	}
	if over == nil {
		cc, err := dial(target, &cfg)
		if err != nil {
			return nil, fmt.Errorf("make a client of %s: %w", target, err)
		}
		over, c.close = cc, cc.Close
	}
	c.conn = &conn{over: over, namespace: cfg.namespace, budget: cfg.retryTimeout, log: cfg.log, propagator: cfg.propagator}
	c.retry = retryv1.NewRetryServiceClient(c.conn)
	c.policies = retryv1.NewPolicyServiceClient(c.conn)
	c.jobs = retryv1.NewJobServiceClient(c.conn)
	c.tasks = retryv1.NewTaskServiceClient(c.conn)
	c.queues = retryv1.NewQueueServiceClient(c.conn)
	c.groups = retryv1.NewGroupServiceClient(c.conn)
	c.server = retryv1.NewServerServiceClient(c.conn)
	return c, nil
}

// Close ends the connection, and with it every call under way. Stop workers
// first. A connection that came by [WithConn] is left open.
func (c *Client) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// Retry is the RetryService itself, for what the methods of Client leave out.
// Its unary calls are repeated like those, as far as their requests as written
// allow it, and an empty namespace becomes the client's; a Subscribe stream is
// the caller's own in every respect.
func (c *Client) Retry() retryv1.RetryServiceClient { return c.retry }

// Policies is the PolicyService, through which policies are created and
// previewed. Its calls are repeated where that is safe, and an empty namespace
// becomes the client's.
func (c *Client) Policies() retryv1.PolicyServiceClient { return c.policies }

// Jobs is the JobService, which keeps the policies of jobs by environment. Its
// calls are repeated where that is safe, and an empty namespace becomes the
// client's; so are those of the services below.
func (c *Client) Jobs() retryv1.JobServiceClient { return c.jobs }

// Tasks is the TaskService, through which operators look at tasks and step in. The
// calls that list or move many of them are made one after the other by
// [Client.AllTasks], [Client.ReplayAll] and their like.
func (c *Client) Tasks() retryv1.TaskServiceClient { return c.tasks }

// Queues is the QueueService, which shows and pauses queues.
func (c *Client) Queues() retryv1.QueueServiceClient { return c.queues }

// Groups is the GroupService, which tells the progress of groups of tasks.
func (c *Client) Groups() retryv1.GroupServiceClient { return c.groups }

// Conn is the connection with the client's repeats and namespace, for stubs of
// further services.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }
