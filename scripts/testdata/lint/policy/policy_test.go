package policy

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	_ = time.Now()
	_ = context.Background()
	_ = os.Args
	time.Sleep(time.Millisecond) // want forbidigo
}
