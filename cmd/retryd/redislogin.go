package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/scheduler/redisstore"
)

// redisLogin are the flags of who the service is to Redis. Passwords stand in files,
// since others on the machine can see flags and variables.
type redisLogin struct {
	username, passwordFile, sentinelPasswordFile string
}

func (l *redisLogin) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&l.username, "redis-username", "", "user of Redis's ACL, unless the URL names one; empty is the user \"default\"")
	flags.StringVar(&l.passwordFile, "redis-password-file", "", "file with the password for Redis, unless the URL has it; read anew for each connection")
	flags.StringVar(&l.sentinelPasswordFile, "redis-sentinel-password-file", "", "file with the password for the Sentinels themselves, read at the start")
}

// read returns the login, or what is wrong with the files.
func (l *redisLogin) read() (redisstore.Login, error) {
	login := redisstore.Login{Username: l.username}
	var errs []error
	password := func(flag, path string) string {
		text, err := readPassword(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", setting(flag), err))
		}
		return text
	}
	if l.passwordFile != "" {
		password("redis-password-file", l.passwordFile)
		login.Password = func() (string, error) { return readPassword(l.passwordFile) }
	}
	if l.sentinelPasswordFile != "" {
		login.SentinelPassword = password("redis-sentinel-password-file", l.sentinelPasswordFile)
	}
	return login, errors.Join(errs...)
}

// readPassword returns the first line of a file, which must be all of it.
func readPassword(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%s must hold one line, the password", path)
	}
	return text, nil
}
