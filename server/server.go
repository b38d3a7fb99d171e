package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/access"
)

// apiPackage is what the names of the API's own services begin with.
const apiPackage = "retry.v1."

// streamWorkers is how many goroutines serve one call after the other, so that
// not each one's stack has to grow anew, which took a seventh of the processor.
// Calls that find all of them busy get goroutines of their own.
const streamWorkers = 256

// Server serves the API over a scheduler. Make it with [New]; [Server.Run] does
// the rest, once.
type Server struct {
	cfg      Config
	log      *slog.Logger
	sched    *scheduler.Scheduler
	grpc     *grpc.Server
	health   *health.Server
	failures *failures
	finished *callLog
	// authenticate finds out who makes a call.
	authenticate grpc.StreamServerInterceptor
	counters     counters

	// streaming are the methods that are streams.
	streaming map[string]bool
	// openStreams are those under way.
	openStreams openStreams
	// opened is set once calls are taken.
	opened atomic.Bool
	// draining is closed when Run begins to stop.
	draining chan struct{}
	// streams are the goroutines of streams, which outlive their calls for as
	// long as it takes them to notice.
	streams sync.WaitGroup
}

// New checks the configuration and wires a server. It listens to nothing yet.
// The scheduler must be kept running until Run has returned: outcomes are taken
// to the end.
func New(cfg Config, sched *scheduler.Scheduler) (*Server, error) {
	if sched == nil {
		return nil, errors.New("server: it needs a scheduler")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:       cfg,
		log:       cfg.Log,
		sched:     sched,
		health:    health.NewServer(),
		failures:  newFailures(cfg.Log),
		finished:  newCallLog(cfg.Log),
		draining:  make(chan struct{}),
		streaming: make(map[string]bool),
	}
	s.authenticate = s.authentication()
	s.grpc = grpc.NewServer(append(s.limits(), grpc.StreamInterceptor(s.stream()))...)
	calls := registrar{s}
	retryv1.RegisterRetryServiceServer(calls, &retryService{s: s})
	retryv1.RegisterPolicyServiceServer(calls, &policyService{s: s})
	retryv1.RegisterJobServiceServer(calls, &jobService{s: s})
	retryv1.RegisterTaskServiceServer(calls, &taskService{s: s})
	retryv1.RegisterQueueServiceServer(calls, &queueService{s: s})
	retryv1.RegisterGroupServiceServer(calls, &groupService{s: s})
	retryv1.RegisterServerServiceServer(calls, &serverService{s: s})
	healthpb.RegisterHealthServer(calls, &healthService{Server: s.health, draining: s.draining})
	if cfg.Reflection {
		reflection.Register(s.grpc) // v1 and v1alpha
	}
	var methods []string
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			methods = append(methods, "/"+service+"/"+m.Name)
			if m.IsClientStream || m.IsServerStream {
				s.streaming["/"+service+"/"+m.Name] = true
			}
		}
	}
	if err := access.CheckMethods(methods); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if cfg.Closed {
		s.SetServing(false)
	} else {
		s.Open()
	}
	return s, nil
}

// Open lets calls in and says SERVING.
func (s *Server) Open() {
	s.opened.Store(true)
	s.SetServing(true)
}

// SetServing sets what the health service answers, for the server as a whole and
// for each service. Once Run stops, it is NOT_SERVING for good.
func (s *Server) SetServing(serving bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		status = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	for name := range s.grpc.GetServiceInfo() {
		if strings.HasPrefix(name, apiPackage) {
			s.health.SetServingStatus(name, status)
		}
	}
}

// detached is ctx without its end, and with one of its own: what has been begun
// for a caller is brought to its end after the caller has gone.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
}

// settleTimeout bounds what is done for a caller that cannot bound it.
const settleTimeout = 5 * time.Second
