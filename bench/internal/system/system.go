package system

import (
	"context"
	"fmt"
	"slices"

	"github.com/retryd/retryd/bench/internal/work"
)

// The names of systems.
const (
	// Retryd is the product, with the worker of its Go client.
	Retryd = "retryd"
	// RetrydStream is the product with bare Subscribe streams.
	RetrydStream = "retryd-stream"
	// RetrydBare is the product with nothing that looks on: neither metrics nor lines of
	// decisions; RetrydWatched has both, is scraped,
	// and has the arguments besides that the harness was given for it.
	RetrydBare    = "retryd-bare"
	RetrydWatched = "retryd-watched"
	// Echo answers reports over gRPC and keeps nothing.
	Echo = "grpc-echo"
	// GRPCAsynq has a gRPC handler that calls asynq.Enqueue.
	GRPCAsynq = "grpc-asynq"
	// GRPCScript has a gRPC handler that runs one small script.
	GRPCScript = "grpc-script"
	// Scripts are small scripts run in batches by the load process itself.
	Scripts = "scripts"
	// Store is the product's store called in batches by the load process itself.
	Store = "store"
	// Asynq and AsynqBest are asynq with its defaults and with its best settings.
	Asynq     = "asynq"
	AsynqBest = "asynq-best"
	// River is River on PostgreSQL, with its best settings.
	River = "river"
	// Beanstalkd is beanstalkd in memory.
	Beanstalkd = "beanstalkd"
	// BullMQ is BullMQ; its driver is peers/bullmq.
	BullMQ = "bullmq"
	// Faktory is Faktory.
	Faktory = "faktory"
)

// The names of servers in [work.Job.Addr].
const (
	// AddrRedis is Redis, host:port; AddrGRPC has one or several servers, separated
	// by commas; AddrPostgres is a URL.
	AddrRedis      = "redis"
	AddrGRPC       = "grpc"
	AddrPostgres   = "postgres"
	AddrBeanstalkd = "beanstalkd"
)

var drivers = map[string]work.Open{
	Retryd:       openRetryd,
	RetrydStream: openRetrydStream,
	Echo:         openReporter,
	GRPCAsynq:    openReporter,
	GRPCScript:   openReporter,
	Scripts:      openScripts,
	Store:        openStore,
	Asynq:        openAsynq,
	AsynqBest:    openAsynqBest,
	River:        openRiver,
	Beanstalkd:   openBeanstalkd,

	RetrydBare:    openRetryd,
	RetrydWatched: openRetryd,
}

// Open connects the driver of the job's system.
func Open(ctx context.Context, job *work.Job) (work.Driver, error) {
	open, ok := drivers[job.System]
	if !ok {
		return nil, fmt.Errorf("system %q has no driver here, which has %q", job.System, Names())
	}
	return open(ctx, job)
}

// Names are the systems that have a driver here, in order.
func Names() []string {
	var names []string
	for name := range drivers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
