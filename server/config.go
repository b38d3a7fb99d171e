package server

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/retryd/retryd/server/access"
)

// Config is what a Server needs to know. The zero value of a field is the
// default stated with it.
type Config struct {
	// Log takes lines of finished calls, of each reason so many that no disk is filled,
	// and what operators should know; the default is [slog.Default].
	Log *slog.Logger
	// Credentials are those of the listener; none by default, which serves in
	// clear text.
	Credentials credentials.TransportCredentials
	// Access decides who may call what; without it everybody may call everything.
	Access *access.Control
	// Reflection lets tools such as grpcurl ask what is served.
	Reflection bool
	// Calls and Streams, where they are set, look on at each call and at each stream of
	// the API from the outside: they see the status that its client gets.
	Calls   grpc.UnaryServerInterceptor
	Streams grpc.StreamServerInterceptor
	// Tracer makes spans of calls and hand-outs; none by default.
	Tracer Tracer
	// Version is what the server tells of itself; none by default.
	Version string
	// Closed starts the server with every call refused as UNAVAILABLE, and health
	// NOT_SERVING, until [Server.Open] is called: so it can be reached before its
	// store can.
	Closed bool
	// MaxConnections is how many connections may be open at a time; one more is
	// closed as soon as it is accepted, so that its client tries another replica.
	// Default 4,096.
	MaxConnections int
	// MaxStreams is how many streams may be open at a time; one more is refused as
	// UNAVAILABLE with TOO_MANY_STREAMS. An idle one takes some 45 KB. Default 6,000.
	// Watches of health are counted for themselves, 256 at most.
	// Of connections and of streams one host, which is an IPv4 address or 64 bits of
	// an IPv6 one, may have half.
	MaxStreams int
	// DrainTimeout is how long calls and streams may take to end when the server
	// is told to stop. Default 20 s.
	DrainTimeout time.Duration
	// SendTimeout is how long a stream may be unable to take a message before it
	// is cut. Default 10 s.
	SendTimeout time.Duration
	// MaxConnectionAge is when a connection is asked to close, give or take a
	// tenth, so that load spreads over replicas that came later. Streams are told
	// before: in the last sixth of it. Default 30 min.
	MaxConnectionAge time.Duration
	// ConnectionAgeGrace is how long a connection, and a stream, may go on after
	// that. Default 5 min.
	ConnectionAgeGrace time.Duration
}

// The defaults of a zero Config.
const (
	DefaultMaxConnections     = 4096
	DefaultMaxStreams         = 6000
	DefaultDrainTimeout       = 20 * time.Second
	DefaultSendTimeout        = 10 * time.Second
	DefaultMaxConnectionAge   = 30 * time.Minute
	DefaultConnectionAgeGrace = 5 * time.Minute
)

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("max connections is %d: it cannot be negative", c.MaxConnections))
	}
	if c.MaxStreams < 0 {
		errs = append(errs, fmt.Errorf("max streams is %d: it cannot be negative", c.MaxStreams))
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"drain timeout", c.DrainTimeout},
		{"send timeout", c.SendTimeout},
		{"max connection age", c.MaxConnectionAge},
		{"connection age grace", c.ConnectionAgeGrace},
	} {
		if d.v < 0 {
			errs = append(errs, fmt.Errorf("%s is %s: it cannot be negative", d.name, d.v))
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Credentials == nil {
		c.Credentials = insecure.NewCredentials()
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.DrainTimeout, DefaultDrainTimeout},
		{&c.SendTimeout, DefaultSendTimeout},
		{&c.MaxConnectionAge, DefaultMaxConnectionAge},
		{&c.ConnectionAgeGrace, DefaultConnectionAgeGrace},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return c
}
