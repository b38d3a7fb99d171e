package system

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/retryd/retryd/bench/internal/work"
)

// dial returns a connection that goes round the servers of the job.
func dial(job *work.Job) (*grpc.ClientConn, error) {
	addrs := strings.Split(job.Addr[AddrGRPC], ",")
	if addrs[0] == "" {
		return nil, errors.New("the job names no gRPC server")
	}
	var state resolver.State
	for _, addr := range addrs {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: addr})
	}
	servers := manual.NewBuilderWithScheme("bench")
	servers.InitialState(state)
	opts := []grpc.DialOption{
		grpc.WithResolvers(servers),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
	}
	if job.Token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer("Bearer "+job.Token)))
	}
	conn, err := grpc.NewClient("bench:///servers", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", job.Addr[AddrGRPC], err)
	}
	return conn, nil
}

// bearer is what calls bear. It goes over loopback in clear text.
type bearer string

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(b)}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (bearer) RequireTransportSecurity() bool { return false }
