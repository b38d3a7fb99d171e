package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Option is a setting of a [Client].
type Option func(*config)

type config struct {
	namespace    string
	log          *slog.Logger
	creds        credentials.TransportCredentials
	token        func(ctx context.Context) (string, error)
	dialOptions  []grpc.DialOption
	conn         grpc.ClientConnInterface
	retryTimeout time.Duration
	propagator   Propagator
}

// WithNamespace sets the namespace of all calls and workers. Default: the
// server's, "default".
func WithNamespace(namespace string) Option {
	return func(c *config) { c.namespace = namespace }
}

// WithLogger sets where the client and its workers log. Neither payloads nor
// tokens are ever logged. Default: [slog.Default].
func WithLogger(log *slog.Logger) Option {
	return func(c *config) { c.log = log }
}

// WithCredentials sets how the connection is secured. Default: see [New].
func WithCredentials(creds credentials.TransportCredentials) Option {
	return func(c *config) { c.creds = creds }
}

// WithTLS secures the connection by TLS, such as with roots of one's own
// (RootCAs), or with a client certificate (Certificates, or GetClientCertificate
// for one that is renewed while the program runs). Default: see [New].
func WithTLS(cfg *tls.Config) Option { return WithCredentials(credentials.NewTLS(cfg)) }

// WithToken has every call and stream bring a bearer token. The function is asked
// for each of them, so that a token that is renewed is taken up at once; it should
// answer from memory or a file, since calls wait for it. Its error is that of the
// call.
//
// The token is sent over TLS alone, but to this machine itself: [New] refuses to
// send it elsewhere in the clear, and over the connection of [WithConn]. Default:
// none.
func WithToken(token func(ctx context.Context) (string, error)) Option {
	return func(c *config) { c.token = token }
}

// WithInsecure leaves the connection unsecured, wherever it goes: for networks
// that secure it themselves.
func WithInsecure() Option { return WithCredentials(insecure.NewCredentials()) }

// WithDialOptions adds gRPC options for the connection, such as interceptors.
// They come after the client's own and so override them.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(c *config) { c.dialOptions = append(c.dialOptions, opts...) }
}

// WithConn makes the client use the caller's connection, which stays the
// caller's to close; target, credentials and dial options are then of no effect.
// A server cuts a connection that sends keepalive pings more often than every
// 15 s.
func WithConn(conn grpc.ClientConnInterface) Option {
	return func(c *config) { c.conn = conn }
}

// WithRetryTimeout sets how long a call is repeated while the server is away.
// The end of the call's context ends it sooner. Default: 30 s. Zero or less
// means that no call is repeated.
func WithRetryTimeout(d time.Duration) Option {
	return func(c *config) { c.retryTimeout = d }
}

// WithPropagator ties the traces of the program to those of its tasks: calls carry
// the context of theirs to the server, which keeps it with the task, and a handler's
// context goes on from there. Default: neither; what the [Attempt] brings can still be
// read from it. It is of no use beside an interceptor of [WithDialOptions] that
// injects the same.
func WithPropagator(p Propagator) Option {
	return func(c *config) { c.propagator = p }
}

// ReportOption adds to one report.
type ReportOption func(*Report)

// WithAttempt says which attempt is reported, from 1. Give it wherever it is
// known: the server then takes each attempt once, whoever reports it. Default:
// the attempt in turn, which for a new task is the first.
func WithAttempt(n int) ReportOption {
	return func(r *Report) { r.Attempt = n }
}

// WithLeaseToken reports the attempt that was handed out under the token. The
// task may then be left empty.
func WithLeaseToken(token string) ReportOption {
	return func(r *Report) { r.LeaseToken = token }
}

// WithIdempotencyKey sets the key by which the server recognises a repeat of the
// report, such as the id of an event, so that it counts once also when another
// process repeats it. At most 255 bytes. Default: a random key per call.
func WithIdempotencyKey(key string) ReportOption {
	return func(r *Report) { r.IdempotencyKey = key }
}

// WorkerOption is a setting of a [Worker].
type WorkerOption func(*workerConfig)

type workerConfig struct {
	maxInFlight     int
	concurrency     int
	lease           time.Duration
	id              string
	shutdownTimeout time.Duration
	settled         func(Settled)
}

// WithMaxInFlight sets how many attempts the worker holds at a time, from 1 to
// 1,000. Default: 32.
func WithMaxInFlight(n int) WorkerOption {
	return func(c *workerConfig) { c.maxInFlight = n }
}

// WithConcurrency sets how many handlers run at a time. Fewer than the attempts
// in flight means that the rest wait ready at hand, under their leases. Default:
// as many as may be in flight.
func WithConcurrency(n int) WorkerOption {
	return func(c *workerConfig) { c.concurrency = n }
}

// WithLeaseDuration sets how long the server waits for a sign of life before it
// hands an attempt out anew, from 1 s to 12 h. It does not limit handlers: the
// worker renews the leases of all that it holds about every third of it.
// Default: 30 s.
func WithLeaseDuration(d time.Duration) WorkerOption {
	return func(c *workerConfig) { c.lease = d }
}

// WithWorkerID names the worker in the history of tasks. Default: the host name,
// process id and a random part.
func WithWorkerID(id string) WorkerOption {
	return func(c *workerConfig) { c.id = id }
}

// WithShutdownTimeout sets how long running handlers may go on after the context
// of Run ended. What still runs then has its own context cancelled, with the
// cause [ErrWorkerStopped]. Zero cancels it at once. Default: 30 s.
func WithShutdownTimeout(d time.Duration) WorkerOption {
	return func(c *workerConfig) { c.shutdownTimeout = d }
}

// WithSettled sets a function that is told what the server made of each attempt.
// It must not block, since the worker's stream may be waiting for it, and may be
// called by several goroutines at a time. Default: none.
func WithSettled(f func(Settled)) WorkerOption {
	return func(c *workerConfig) { c.settled = f }
}
