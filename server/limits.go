package server

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// The limits of what a client may ask of a connection.
const (
	maxStreams        = 1000
	maxMessageBytes   = 512 << 10
	maxHeaderBytes    = 16 << 10
	connectionTimeout = 10 * time.Second
	keepaliveTime     = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
	minPingInterval   = 15 * time.Second
	// maxHealthWatches are enough for balancers; probes ask by calls.
	maxHealthWatches = 256
)

// limits are gRPC's defaults that would let one client hurt all others, made
// tighter.
func (s *Server) limits() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:                  keepaliveTime,
			Timeout:               keepaliveTimeout,
			MaxConnectionAge:      s.cfg.MaxConnectionAge,
			MaxConnectionAgeGrace: s.cfg.ConnectionAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPingInterval,
			PermitWithoutStream: true,
		}),
		grpc.ReadBufferSize(0), // watchedConn has one
		grpc.InTapHandle(s.boundArrival),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.Creds(watchingCredentials{s.cfg.Credentials}),
	}
}

// streamKind tells streams apart that are counted for themselves.
type streamKind int

const (
	// callerStream is one that [Config.MaxStreams] is for.
	callerStream streamKind = iota
	// healthWatch needs no credential, and must not take the place of those that do.
	healthWatch
	numStreamKinds
)

// openStreams counts the streams of each kind that are under way.
type openStreams [numStreamKinds]atomic.Int64

func kindOfStream(method string) streamKind {
	if method == healthpb.Health_Watch_FullMethodName {
		return healthWatch
	}
	return callerStream
}

// mostStreams is how many of a kind there may be, of which one host may have half.
func (s *Server) mostStreams(kind streamKind) int {
	if kind == healthWatch {
		return maxHealthWatches
	}
	return s.cfg.MaxStreams
}

// enter makes room for a stream, which leave gives back.
func (s *Server) enter(ctx context.Context, method string) (leave func(), err error) {
	kind := kindOfStream(method)
	most := s.mostStreams(kind)
	leave = func() { s.openStreams[kind].Add(-1) }
	if s.openStreams[kind].Add(1) > int64(most) {
		leave()
		return nil, s.noRoom(kind)
	}
	conn := connOf(ctx)
	conn.charge(freeOfCall)
	if conn == nil || conn.hostName == "" {
		return leave, nil
	}
	all := leave
	leave = func() {
		conn.host.streams[kind].Add(-1)
		all()
	}
	if conn.host.streams[kind].Add(1) > int64(half(most)) {
		leave()
		return nil, s.noRoom(kind)
	}
	return leave, nil
}

// noRoom counts a stream that is refused, and says why.
func (s *Server) noRoom(kind streamKind) error {
	s.counters.refusedStreams.Add(1)
	if kind == healthWatch {
		return tooManyWatches()
	}
	return tooManyStreams()
}

// refuseCompressed refuses messages that are compressed, of which a few bytes may stand
// for all that a message may be long. gRPC does so by itself only as long as no part of
// the process compresses what it sends, as exporters of traces may.
func refuseCompressed(ctx context.Context) error {
	stream, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	if !ok {
		return nil
	}
	if by := stream.RecvCompress(); by != "" && by != encoding.Identity {
		return compressed(by)
	}
	return nil
}
