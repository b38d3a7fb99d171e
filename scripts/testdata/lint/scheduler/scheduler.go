// Package scheduler may import policy and x/sync.
package scheduler

import (
	"context"
	"fmt"
	"time"

	_ "github.com/redis/go-redis/v9" // want depguard depguard
	_ "golang.org/x/sync/errgroup"
	_ "google.golang.org/grpc" // want depguard

	_ "github.com/retryd/retryd/client" // want depguard
	_ "github.com/retryd/retryd/policy"
)

func loop() {
	_ = time.Now()
	_ = context.Background() // want forbidigo
	fmt.Println("no")        // want forbidigo
}
