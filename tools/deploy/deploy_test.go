// Package deploy_test checks what this project ships for container engines as far
// as that goes without one: that the files are what their formats want, and that
// they say what they should.
package deploy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// compose loads the compose file, by the same code as docker compose, which
// refuses what is not in the format's schema.
func compose(t *testing.T) *types.Project {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithName("retryd"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := opts.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeRunsTwoReplicasOnASafeRedis(t *testing.T) {
	t.Parallel()
	project := compose(t)
	redis, retryd := project.Services["redis"], project.Services["retryd"]
	if retryd.GetScale() != 2 {
		t.Errorf("%d replicas", retryd.GetScale())
	}
	command := strings.Join(redis.Command, " ")
	for _, want := range []string{"--appendonly yes", "--maxmemory-policy noeviction"} {
		if !strings.Contains(command, want) {
			t.Errorf("redis is started by %q, without %s", command, want)
		}
	}
	if !slices.Equal(retryd.HealthCheck.Test, types.HealthCheckTest{"CMD", "/retryd", "healthcheck"}) {
		t.Errorf("health is checked by %q", retryd.HealthCheck.Test)
	}
	if got := retryd.DependsOn["redis"].Condition; got != types.ServiceConditionHealthy {
		t.Errorf("it waits for redis to be %q", got)
	}
	for _, port := range retryd.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("port %s is open to others than this machine: %+v", port.Published, port)
		}
	}
	for name, value := range retryd.Environment {
		if !strings.HasPrefix(name, "RETRYD_") || value == nil {
			t.Errorf("%s is no setting with a value", name)
		}
	}
}

func TestDockerfileMakesASmallImageWithoutRoot(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Error(w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := stages[len(stages)-1]
	if !strings.Contains(last.BaseName, "static") {
		t.Errorf("the image is made of %s, which is more than a static binary needs", last.BaseName)
	}
	user := ""
	for _, c := range last.Commands {
		if u, ok := c.(*instructions.UserCommand); ok {
			user = u.User
		}
	}
	if user != "nonroot" {
		t.Errorf("it runs as %q", user)
	}
}
