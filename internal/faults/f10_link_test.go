package main

import (
	"errors"
	"testing"
)

// TestALinkThatCannotBeMadeIsNoFailure wants a machine without ip to be told as such.
func TestALinkThatCannotBeMadeIsNoFailure(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	l, err := newLink(t.Context())
	if _, ok := errors.AsType[*cannotError](err); !ok || l != nil {
		t.Errorf("link %v, error %v", l, err)
	}
}
