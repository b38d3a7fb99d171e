// Package memstore may import scheduler and policy.
package memstore

import (
	_ "golang.org/x/sync/errgroup" // want depguard

	_ "github.com/retryd/retryd/policy"
	_ "github.com/retryd/retryd/scheduler"
)
