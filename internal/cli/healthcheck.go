package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/retryd/retryd/client"
)

func newHealthcheckCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a server whether it serves; exit with 0 if it does",
		Args:  takes(),
		RunE:  e.call(checkHealth),
	}
	addReachFlags(cmd.Flags(), "3s")
	return cmd
}

func checkHealth(ctx context.Context, s *session, c *client.Client, _ []string) error {
	resp, err := healthpb.NewHealthClient(c.Conn()).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", s.address, err)
	}
	if status := resp.GetStatus(); status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s answers %s", s.address, status)
	}
	return s.say("%s: SERVING", s.address)
}
