// Package server may import gen, scheduler, policy and grpc, but no store.
package server

import (
	_ "google.golang.org/grpc"
	"google.golang.org/grpc/status"

	_ "github.com/retryd/retryd/gen/retry/v1"
	_ "github.com/retryd/retryd/policy"
	_ "github.com/retryd/retryd/scheduler"
	_ "github.com/retryd/retryd/scheduler/memstore" // want depguard
)

func handle() error {
	return status.Error(5, "no") // want forbidigo
}
