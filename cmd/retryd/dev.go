package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	presets "github.com/retryd/retryd/deploy/policies"
	"github.com/retryd/retryd/internal/cli"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

func newDevCommand() *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the service on a store in memory, to try it out and to develop against",
		Long: `Runs the service on a store in memory: nothing to set up, and nothing is kept when it
ends. It listens on loopback, answers gRPC reflection, and knows the policies of deploy/policies.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cfg.from.locate(runDev(cmd, cfg)) },
	}
	cfg.addTo(cmd.Flags())
	cfg.from.bind(cmd)
	return cmd
}

const devOnlyLoopback = "the development server has no access control and listens on loopback only"

func runDev(cmd *cobra.Command, cfg config) error {
	own, err := cfg.ownPolicies()
	if err := errors.Join(cfg.validate(devOnlyLoopback, devOnlyLoopback), err); err != nil {
		return cli.Misused(err)
	}
	policies, err := policiesOf(presets.Files, "deploy/policies")
	if err != nil {
		return fmt.Errorf("the ready-made policies: %w", err)
	}
	policies = overlay(policies, own)
	d, err := newDaemon(cmd.Context(), cfg, memstore.New(memstore.Config{}), server.Config{Reflection: true}, newWatch(cfg, cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	if err := d.apply(cmd.Context(), policies); err != nil {
		return err
	}
	if err := d.listen(cmd.Context()); err != nil {
		return err
	}
	if err := greet(cmd.OutOrStdout(), d, policies); err != nil {
		return errors.Join(err, d.close())
	}
	return d.run(cmd.Context(), nil)
}

// overlay returns base with the policies of over in the place of those of the
// same id, and behind them the rest.
func overlay(base, over []policy.Policy) []policy.Policy {
	own := make(map[string]bool, len(over))
	for _, p := range over {
		own[p.ID] = true
	}
	var out []policy.Policy
	for _, p := range base {
		if !own[p.ID] {
			out = append(out, p)
		}
	}
	return append(out, over...)
}

const greeting = `retryd is serving on {{.Addr}}{{with .Admin}}; probes on http://{{.}}/readyz{{end}}
It keeps everything in memory: what you report is gone when it ends (Ctrl-C).

Watch the queue "demo" (in another terminal; grpcurl: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4):

  grpcurl -plaintext -d '{"open": {"queues": ["demo"], "observe": true}}' {{.Addr}} retry.v1.RetryService/Subscribe

Report a failed attempt, and see it come back in 5 seconds:

  grpcurl -plaintext -d '{"task": {"id": "hello", "queue": "demo", "policy": "quick"}, "failure": {"http": {"status": 503}}}' {{.Addr}} retry.v1.RetryService/ReportFailure

Policies: {{.Policies}}

`

// greet says what is running, and what to type next.
func greet(w io.Writer, d *daemon, policies []policy.Policy) error {
	t, err := template.New("greeting").Parse(greeting)
	if err != nil {
		return err
	}
	var ids []string
	for _, p := range policies {
		ids = append(ids, p.ID)
	}
	return t.Execute(w, map[string]string{
		"Addr": d.listener.Addr().String(), "Admin": d.adminAddr(), "Policies": strings.Join(ids, ", "),
	})
}
