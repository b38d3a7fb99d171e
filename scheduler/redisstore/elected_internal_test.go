package redisstore

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSentinelsAreAskedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		e := elected{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			asked++
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("they have all the time that there is")
			}
			if asked%2 == 0 {
				return nil, errors.New("no Sentinel answers")
			}
			return deadConn{}, nil
		}}
		for range 100 {
			e.ask(t.Context())
			<-time.After(askPause / 5)
		}
		if asked != 20 {
			t.Errorf("they were asked %d times in %s, want 20", asked, 20*askPause)
		}
	})
}

func TestWithoutSentinelsNobodyIsAsked(t *testing.T) {
	t.Parallel()
	new(elected).ask(t.Context())
}
