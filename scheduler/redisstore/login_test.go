package redisstore_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/retryd/retryd/internal/redistest"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/redisstore"
)

// Everywhere the store is who it was told to be, and takes a new password for new
// connections.
func TestLogin(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (url string, servers []*redistest.Server){
		"one server": func(t *testing.T) (string, []*redistest.Server) {
			t.Helper()
			s := redistest.Start(t)
			return s.URL(), []*redistest.Server{s}
		},
		"sentinels": func(t *testing.T) (string, []*redistest.Server) {
			t.Helper()
			s := redistest.StartSentinels(t, 1)
			return s.URL(), []*redistest.Server{s.Master}
		},
		"cluster": func(t *testing.T) (string, []*redistest.Server) {
			t.Helper()
			c := redistest.StartCluster(t, 3, 0)
			return c.URL(), c.Masters
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, servers := start(t)
			each := func(args ...string) {
				for _, s := range servers {
					s.Do(t, args...)
				}
			}
			each("ACL", "SETUSER", "retryd", "on", ">one", "~*", "&*", "+@all")
			var password atomic.Value
			password.Store("one")
			s := newStore(t, redisstore.Config{URL: url, Login: redisstore.Login{
				Username: "retryd", Password: func() (string, error) { return password.Load().(string), nil },
			}})
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if list := servers[0].Do(t, "CLIENT", "LIST"); !strings.Contains(list, "user=retryd") {
				t.Errorf("nobody is logged in as retryd:\n%s", list)
			}

			each("ACL", "SETUSER", "retryd", "resetpass", ">two")
			each("CLIENT", "KILL", "USER", "retryd")
			wantKind(t, s.Check(t.Context()), scheduler.KindUnavailable)
			password.Store("two")
			if err := s.Check(t.Context()); err != nil {
				t.Errorf("with the new password: %v", err)
			}
		})
	}
}

func TestPasswordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisstore.Config{URL: redistest.Shared(t).URL(), Login: redisstore.Login{
		Password: func() (string, error) { return "", errors.New("the file is gone") },
	}})
	wantKind(t, s.Check(t.Context()), scheduler.KindUnavailable)
}

func TestLoginsThatContradictTheURL(t *testing.T) {
	t.Parallel()
	secret := func() (string, error) { return "SECRET", nil }
	for _, c := range []struct {
		url, want string
		login     redisstore.Login
	}{
		{"redis://u@a", "names a user", redisstore.Login{Username: "v"}},
		{"redis://:SECRET@a", "holds a password", redisstore.Login{Password: secret}},
		{"redis://a", "names no Sentinels", redisstore.Login{SentinelPassword: "SECRET"}},
		{"redis://a?master_name=m&sentinel_password=SECRET", "holds a sentinel_password", redisstore.Login{SentinelPassword: "SECRET"}},
	} {
		_, err := redisstore.New(redisstore.Config{URL: c.url, Login: c.login})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v, want one with %q", c.url, err, c.want)
		}
	}
	if _, err := redisstore.New(redisstore.Config{URL: "redis://u@a,b?master_name=m", Login: redisstore.Login{Password: secret, SentinelPassword: "SECRET"}}); err != nil {
		t.Error(err)
	}
}
