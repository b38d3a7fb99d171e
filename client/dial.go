package client

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	// The server cuts off whoever pings more often than every 15 s.
	keepaliveTime    = 20 * time.Second
	keepaliveTimeout = 10 * time.Second

	// gRPC would wait up to 2 min between tries to connect, and a server that
	// was restarted would long be back.
	connectBaseDelay = 100 * time.Millisecond
	connectMaxDelay  = 5 * time.Second
	connectTimeout   = 5 * time.Second
)

// Calls and streams go round all replicas, and a worker that is asked to leave
// one finds another.
const serviceConfig = `{"loadBalancingConfig":[{"round_robin":{}}]}`

func dial(target string, cfg *config) (*grpc.ClientConn, error) {
	creds := cfg.creds
	if creds == nil {
		creds = defaultCredentials(target)
	}
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                keepaliveTime,
			Timeout:             keepaliveTimeout,
			PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay: connectBaseDelay, Multiplier: 1.6, Jitter: 0.2, MaxDelay: connectMaxDelay,
			},
			MinConnectTimeout: connectTimeout,
		}),
	}, cfg.dialOptions...)
	if cfg.token != nil {
		here := staysHere(target)
		if creds.Info().SecurityProtocol == insecure.NewCredentials().Info().SecurityProtocol && !here {
			return nil, errors.New("its token would go over the network in the clear: use TLS")
		}
		opts = append(opts, grpc.WithPerRPCCredentials(bearer{token: cfg.token, here: here}))
	}
	return grpc.NewClient(target, opts...)
}

func defaultCredentials(target string) credentials.TransportCredentials {
	if staysHere(target) {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
}

// staysHere tells whether what is sent to target cannot leave this machine. It
// looks nothing up: a name that happens to resolve to a loopback address does
// not count, since it may resolve to another tomorrow.
func staysHere(target string) bool {
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	for _, scheme := range []string{"dns:", "passthrough:"} {
		if rest, ok := strings.CutPrefix(target, scheme); ok {
			// The authority of dns://authority/name is who is asked for the name.
			target = rest[strings.LastIndexByte(rest, '/')+1:]
		}
	}
	host := target
	if i := strings.LastIndexByte(target, ':'); i >= 0 && !strings.HasSuffix(target, "]") {
		if _, err := netip.ParseAddr(target); err != nil {
			host = target[:i]
		}
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
