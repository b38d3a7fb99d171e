// Package grpc stands in for grpc-go.
package grpc
