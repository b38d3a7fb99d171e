package system

import "fmt"

// Settings are those of the peers' clients and workers, as a reader of figures
// should know them.
func Settings() map[string]string {
	return map[string]string{
		Asynq: "defaults: as many attempts in flight as CPUs, looks every 5 s for what has fallen due",
		AsynqBest: fmt.Sprintf("Concurrency and PoolSize as many as in flight, TaskCheckInterval and DelayedTaskCheckInterval %s",
			bestCheck),
		River: fmt.Sprintf("MaxWorkers as many as in flight, FetchCooldown %s, FetchPollInterval %s, %d connections",
			riverFetchCooldown, riverFetchPoll, riverConnections),
		Beanstalkd: "a connection for each caller and each attempt in flight",
		BullMQ:     "one worker, concurrency as many as in flight, ended jobs removed at once",
		GRPCAsynq:  fmt.Sprintf("PoolSize %d", floorPool),
		GRPCScript: fmt.Sprintf("PoolSize %d", floorPool),
		Scripts:    fmt.Sprintf("%d tasks a claim, a loop for every %d in flight", claimBatch, claimBatch),
		Store:      fmt.Sprintf("%d tasks a claim, a loop for every %d in flight", claimBatch, claimBatch),
	}
}
