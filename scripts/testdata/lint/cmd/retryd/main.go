// Command retryd may import everything but go-redis.
package main

import (
	"context"
	"fmt"

	_ "github.com/redis/go-redis/v9" // want depguard

	_ "github.com/retryd/retryd/client"
	_ "github.com/retryd/retryd/scheduler/redisstore"
	_ "github.com/retryd/retryd/server"
)

func main() {
	fmt.Println(context.Background())
}
