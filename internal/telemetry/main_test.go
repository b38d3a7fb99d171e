package telemetry_test

import (
	"os"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Run(m)) }
