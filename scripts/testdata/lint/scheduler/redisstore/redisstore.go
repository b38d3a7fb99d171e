// Package redisstore is the only one to import go-redis.
package redisstore

import (
	_ "github.com/redis/go-redis/v9"
	_ "google.golang.org/grpc" // want depguard

	_ "github.com/retryd/retryd/policy"
	_ "github.com/retryd/retryd/scheduler"
	_ "github.com/retryd/retryd/scheduler/memstore" // want depguard
)
