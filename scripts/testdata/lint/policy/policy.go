// Package policy may import the standard library without clock, I/O and chance.
package policy

import (
	_ "math/rand/v2" // want depguard
	_ "os"           // want depguard
	_ "strings"
	"time"

	_ "github.com/redis/go-redis/v9" // want depguard depguard
	_ "golang.org/x/sync/errgroup"   // want depguard

	_ "github.com/retryd/retryd/gen/retry/v1" // want depguard
)

func clock() time.Time {
	return time.Now() // want forbidigo
}

func crash() {
	panic("no") // want forbidigo
}
