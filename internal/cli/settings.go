package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings are the names of the flags that the environment and the client's file can
// give as well.
var settings = []string{
	"address", "namespace", "tls", "tls-ca", "tls-cert", "tls-key", "tls-server-name",
	"token", "token-file", "timeout", "output",
}

// setting is a flag that is judged with all others, once the environment and the
// file are known as well, and not when it is read.
type setting struct {
	text string
	kind string
}

// String implements [pflag.Value].
func (v *setting) String() string { return v.text }

// Set implements [pflag.Value].
func (v *setting) Set(s string) error { v.text = s; return nil }

// Type implements [pflag.Value].
func (v *setting) Type() string { return v.kind }

func addSetting(flags *pflag.FlagSet, name, short, kind, def, usage string) {
	flags.VarP(&setting{text: def, kind: kind}, name, short, usage)
}

func addConnectionFlags(flags *pflag.FlagSet) {
	addReachFlags(flags, "30s")
	addSetting(flags, "namespace", "n", "name", "default", "namespace of all that is named")
}

// addReachFlags adds those of the connection flags that say how to reach a server.
func addReachFlags(flags *pflag.FlagSet, timeout string) {
	addSetting(flags, "address", "", "host:port", "127.0.0.1:7600", "address of the server's gRPC port")
	addSetting(flags, "tls", "", "bool", "", "use TLS; by default to every address but those of this machine. --tls=false sends in clear text")
	flags.Lookup("tls").NoOptDefVal = "true"
	addSetting(flags, "tls-ca", "", "file", "", "PEM file of the authorities that may have signed the server's certificate; by default the system's")
	addSetting(flags, "tls-cert", "", "file", "", "PEM file of the client certificate to show, with --tls-key")
	addSetting(flags, "tls-key", "", "file", "", "PEM file of the key of --tls-cert")
	addSetting(flags, "tls-server-name", "", "name", "", "name in the server's certificate, where it is not the address's")
	addSetting(flags, "token", "", "text", "", "bearer token; others on this machine may see it: --token-file is safer")
	addSetting(flags, "token-file", "", "file", "", "file that holds the bearer token, read anew for every call")
	addSetting(flags, "timeout", "", "duration", timeout, "how long one call may take")
	flags.String("client-config", "", "YAML file with these settings, by name (default $XDG_CONFIG_HOME/retryd/client.yaml)")
	flags.String("context", "", "which of the contexts of that file to use")
}

// value is a setting with where it comes from.
type value struct {
	text string
	// from names its origin: "--timeout", "RETRYD_TIMEOUT" or "timeout in FILE".
	from string
	// rank tells origins apart: what is nearer to the call is higher. 0 is the default.
	rank int
}

const (
	rankDefault = iota
	rankFile
	rankContext
	rankEnvironment
	rankFlag
)

func (v value) given() bool { return v.rank > rankDefault }

// wrong is an error that tells value and origin.
func (v value) wrong(format string, args ...any) error {
	return usagef("%s is %q: %w", v.from, v.text, fmt.Errorf(format, args...))
}

// envName is the variable of a flag.
func envName(flag string) string {
	return "RETRYD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// values are the settings of a command, by name: from flags, environment, the
// context of the client's file and the file itself, the first that has it.
func (e *Env) values(cmd *cobra.Command) (map[string]value, error) {
	file, err := e.clientFile(cmd)
	if err != nil {
		return nil, &usageError{err}
	}
	out := make(map[string]value)
	for _, name := range settings {
		f := cmd.Flag(name)
		if f == nil {
			continue
		}
		v := value{text: f.DefValue, from: "--" + name}
		if fromFile, ok := file[name]; ok {
			v = fromFile
		}
		if text, ok := e.Lookup(envName(name)); ok {
			v = value{text, envName(name), rankEnvironment}
		}
		if f.Changed {
			v = value{f.Value.String(), "--" + name, rankFlag}
		}
		out[name] = v
	}
	return out, nil
}

// either returns the one of two settings that is nearer to the call, where both say
// the same in different ways.
func either(a, b value) (value, error) {
	if a.given() && a.rank == b.rank {
		return value{}, usagef("%s and %s are both given: they say the same, so one must go", a.from, b.from)
	}
	if a.rank > b.rank {
		b = value{}
	} else {
		a = value{}
	}
	return value{text: a.text + b.text, from: a.from + b.from, rank: max(a.rank, b.rank)}, nil
}

// flagOrVariable is what was given by either, and which of them.
func (e *Env) flagOrVariable(cmd *cobra.Command, name string) (text, from string) {
	if f := cmd.Flag(name); f != nil && f.Changed {
		return f.Value.String(), "--" + name
	}
	if text, ok := e.Lookup(envName(name)); ok {
		return text, envName(name)
	}
	return "", ""
}

// joinUsage joins what is wrong with the call.
func joinUsage(errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	return nil
}

// IsSetting says whether a flag of a command that calls a server is one of those
// that all such commands take.
func IsSetting(flag string) bool {
	return flag == "client-config" || flag == "context" || slices.Contains(settings, flag)
}
