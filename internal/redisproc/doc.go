// Package redisproc runs real Redis servers on loopback: one by itself, one with
// replicas under Sentinels, or a Cluster. They end with the process that started
// them, however that ends.
//
// It speaks just enough of the protocol to start and to look at servers; it must
// import nothing of this module, nor go-redis, which belongs to redisstore. Tests
// use it by package redistest.
package redisproc
