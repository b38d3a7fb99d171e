package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
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

// enter makes room for a stream, which leave gives back.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { s.openStreams.Add(-1) }
	if s.openStreams.Add(1) > int64(s.cfg.MaxStreams) {
		leave()
		return nil, s.tooManyStreams()
	}
	conn := connOf(ctx)
	conn.charge(freeOfCall)
	if conn == nil || conn.hostName == "" {
		return leave, nil
	}
	all := leave
	leave = func() {
		conn.host.streams.Add(-1)
		all()
	}
	if conn.host.streams.Add(1) > int64(half(s.cfg.MaxStreams)) {
		leave()
		return nil, s.tooManyStreams()
	}
	return leave, nil
}

func (s *Server) tooManyStreams() error {
	s.counters.refusedStreams.Add(1)
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
