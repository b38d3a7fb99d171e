// Package redis stands in for go-redis.
package redis
