package server

import "google.golang.org/grpc/status"

func table() error {
	return status.Error(5, "yes")
}
