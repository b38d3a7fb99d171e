package redisstore

import (
	"context"
	"errors"
	"fmt"
)

// Login is who the store is to Redis, where the URL does not say so.
type Login struct {
	// Username is a user of Redis's ACL; empty is "default".
	Username string
	// Password, when set, is asked for every new connection, so that it may change
	// while the store runs.
	Password func() (string, error)
	// SentinelPassword is that of the Sentinels themselves.
	SentinelPassword string
}

// logIn adds what the URL does not say. What both say is refused, since one of them
// is not what somebody thinks.
func (t *Target) logIn(l Login) error {
	if l.Username != "" {
		if t.opts.Username != "" {
			return errors.New("redis url: it names a user, and a username is given besides")
		}
		t.opts.Username = l.Username
	}
	if l.Password != nil {
		if t.opts.Password != "" {
			return errors.New("redis url: it holds a password, and one is given besides")
		}
		user := t.opts.Username
		t.opts.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := l.Password()
			if err != nil {
				return "", "", fmt.Errorf("password of redis: %w", err)
			}
			return user, password, nil
		}
	}
	if l.SentinelPassword != "" {
		switch {
		case t.master == "":
			return errors.New("redis url: it names no Sentinels (master_name), and a password of theirs is given")
		case t.sentinelPassword != "":
			return errors.New("redis url: it holds a sentinel_password, and one is given besides")
		}
		t.sentinelPassword = l.SentinelPassword
	}
	return nil
}
