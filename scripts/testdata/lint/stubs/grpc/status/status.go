// Package status stands in for grpc-go's.
package status

// Error stands in for status.Error.
func Error(code uint32, msg string) error { return nil }
