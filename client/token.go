package client

import (
	"context"
	"errors"
)

// bearer sends a token with every call and stream of a connection.
type bearer struct {
	token func(ctx context.Context) (string, error)
	// here says that the connection does not leave this machine.
	here bool
}

// GetRequestMetadata returns the header of a call.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.token(ctx)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, errors.New("the token is empty")
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity has gRPC refuse to send the token in the clear, also
// where dial options bring other credentials.
func (b bearer) RequireTransportSecurity() bool { return !b.here }
