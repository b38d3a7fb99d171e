// Package peers holds what is needed to drive the peers that are not written in
// Go.
package peers

import "embed"

// BullMQ is the driver of BullMQ: a script for Node and the packages it needs.
//
//go:embed bullmq/bench.mjs bullmq/package.json bullmq/package-lock.json
var BullMQ embed.FS
