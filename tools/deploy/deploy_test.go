// Package deploy_test checks what this project ships for container engines as far
// as that goes without one: that the files are what their formats want, and that
// they say what they should.
package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"sigs.k8s.io/yaml"
)

// compose loads the compose file, by the same code as docker compose, which
// refuses what is not in the format's schema.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithName("retryd"), cli.WithProfiles(profiles))
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
	if len(project.Services) != 2 {
		t.Errorf("%d services run where no profile is asked for", len(project.Services))
	}
	for name, value := range retryd.Environment {
		if !strings.HasPrefix(name, "RETRYD_") || value == nil {
			t.Errorf("%s is no setting with a value", name)
		}
	}
}

func TestComposeShowsWhatHappens(t *testing.T) {
	t.Parallel()
	project := compose(t, "observability")
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("port %s of %s is open to others than this machine: %+v", port.Published, name, port)
			}
		}
		for _, v := range service.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s is given %s, which is not there or can be written: %v", name, v.Source, err)
			}
		}
	}
	// What is provisioned is what lies there, and it is found by the names that the
	// containers have.
	var source struct {
		Datasources []struct{ URL string }
	}
	unmarshal(t, "../../deploy/grafana/provisioning/datasources/prometheus.yaml", &source)
	prometheus := project.Services["prometheus"]
	if want := fmt.Sprintf("http://%s:%d", prometheus.Name, prometheus.Ports[0].Target); len(source.Datasources) != 1 || source.Datasources[0].URL != want {
		t.Errorf("Grafana asks %+v, want %s", source.Datasources, want)
	}
	var boards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	unmarshal(t, "../../deploy/grafana/provisioning/dashboards/retryd.yaml", &boards)
	grafana := project.Services["grafana"]
	dashboard := slices.IndexFunc(grafana.Volumes, func(v types.ServiceVolumeConfig) bool { return strings.HasSuffix(v.Source, "retryd.json") })
	if len(boards.Providers) != 1 || dashboard < 0 || filepath.Dir(grafana.Volumes[dashboard].Target) != boards.Providers[0].Options.Path {
		t.Errorf("the dashboard is not where Grafana looks for it: %+v, %+v", boards, grafana.Volumes)
	}
	promtool(t, "check", "config", "../../deploy/prometheus/prometheus.yml")
	var scrapes struct {
		Jobs []struct {
			Name string `json:"job_name"`
			DNS  []struct {
				Names []string
				Port  int
			} `json:"dns_sd_configs"`
		} `json:"scrape_configs"`
	}
	unmarshal(t, "../../deploy/prometheus/prometheus.yml", &scrapes)
	_, admin, _ := strings.Cut(*project.Services["retryd"].Environment["RETRYD_ADMIN_LISTEN"], ":")
	job := scrapes.Jobs[0]
	if job.Name != "retryd" || job.DNS[0].Names[0] != "retryd" || strconv.Itoa(job.DNS[0].Port) != admin {
		t.Errorf("Prometheus scrapes %+v, want job and name retryd at port %s", job, admin)
	}
}

// unmarshal reads a YAML file.
func unmarshal(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, path), into); err != nil {
		t.Fatal(err)
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
