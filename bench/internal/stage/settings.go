package stage

import "strings"

// Settings are those of the servers, as a reader of figures should know them.
func Settings() map[string]string {
	return map[string]string{
		"redis":             "no snapshots, no append-only file unless the work says so, maxmemory-policy noeviction",
		"postgres":          strings.Join(postgresSettings, ", "),
		"beanstalkd server": "in memory, without a binlog",
	}
}
