package client

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// ServerInfo asks the server, or one of the replicas behind its name, what it is and
// how safe it keeps what it acknowledges. It is answered also while the store cannot
// be reached.
func (c *Client) ServerInfo(ctx context.Context) (*retryv1.GetServerInfoResponse, error) {
	return c.server.GetServerInfo(ctx, &retryv1.GetServerInfoRequest{})
}
