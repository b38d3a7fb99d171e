//go:build !linux

package main

import (
	"context"
	"errors"
	"time"
)

// syncs are known on Linux alone, whose kernel tells of them.
type syncs struct{}

func newSyncs(context.Context, string) (*syncs, error) {
	return nil, &cannotError{"what is synced to disk is known on Linux alone"}
}

func (*syncs) before() ([]string, error) { return nil, errors.ErrUnsupported }

func (*syncs) cut(string) (lost int64, last time.Time, err error) {
	return 0, time.Time{}, errors.ErrUnsupported
}

func (*syncs) close() error { return nil }

func execWithSyncs(string, []string) error { return errors.ErrUnsupported }
