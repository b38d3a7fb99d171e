// Package errgroup stands in for x/sync/errgroup.
package errgroup
