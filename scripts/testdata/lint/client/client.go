// Package client may import gen and grpc.
package client

import (
	_ "google.golang.org/grpc"

	_ "github.com/retryd/retryd/gen/retry/v1"
	_ "github.com/retryd/retryd/policy" // want depguard
)
