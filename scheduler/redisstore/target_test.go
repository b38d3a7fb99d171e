package redisstore_test

import (
	"strings"
	"testing"

	"github.com/retryd/retryd/scheduler/redisstore"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://localhost": "single localhost:6379 db 0 user  tls false",
		"redis://user:p%40ss@example.com:7000/3?pool_size=5": "single example.com:7000 db 3 user user tls false",
		"rediss://[::1]":                                        "single [::1]:6379 db 0 user  tls true",
		"unix:///tmp/redis.sock?db=2":                           "single /tmp/redis.sock db 2 user  tls false",
		"redis://a,b:7001,[::1]:7002":                           "cluster a:6379 b:7001 [::1]:7002 db 0 user  tls false",
		"rediss://:pw@a/?cluster=true":                          "cluster a:6379 db 0 user  tls true",
		"redis://a,b:26380/1?master_name=m&sentinel_username=s": "sentinel m a:26379 b:26380 db 1 user  tls false",
		"redis://u@a?master_name=m&sentinel_password=x":         "sentinel m a:26379 db 0 user u tls false",
	} {
		target, err := redisstore.ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := target.Describe(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", url, got, want)
		}
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                     "must begin with",
		"localhost:6379":                       "must begin with",
		"http://localhost":                     "scheme",
		"redis://":                             "empty",
		"redis://a,,b":                         "empty",
		"redis://a/x":                          "database",
		"redis://a?colour=red":                 "colour",
		"redis://a,b/2":                        "database 0",
		"redis://a?cluster=true&master_name=m": "no master_name",
		"redis://a?cluster=maybe":              "true or false",
		"unix:///s?cluster=true":               "socket",
		"redis://user:SECRET%zz@a":             "cannot be read",
		"redis://user:SECRET@a:port":           "cannot be read",
		"redis://user:SECRET@a/9/9":            "path",
	} {
		_, err := redisstore.New(redisstore.Config{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", url, err, want)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error %v shows the password", err)
		}
	}
}
