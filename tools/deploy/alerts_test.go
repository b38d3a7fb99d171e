package deploy_test

import (
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	alertsFile = "../../deploy/prometheus/alerts.yaml"
	alertsPage = "../../docs/alerts.md"
	runbooks   = "https://github.com/retryd/retryd/blob/main/docs/alerts.md#"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// alerts are the rules, by the same code as Prometheus.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(read(t, alertsFile), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	var out []rulefmt.Rule
	for _, g := range groups.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// promtool runs Prometheus's own tool, which make check-deploy installs.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", alertsFile)
}

// Every alert fires when it should, and none where all is well.
func TestAlertsFireAndAreSilent(t *testing.T) {
	t.Parallel()
	promtool(t, "test", "rules", "../../deploy/prometheus/alerts_test.yaml")
}

// Whoever is called by an alert is told how bad it is, what it is about, and where
// it says what to do.
func TestAlertsTellWhatToDo(t *testing.T) {
	t.Parallel()
	for _, a := range alerts(t) {
		switch a.Labels["severity"] {
		case "critical", "warning", "info":
		default:
			t.Errorf("%s has the severity %q: it must be critical, warning or info", a.Alert, a.Labels["severity"])
		}
		for _, name := range []string{"summary", "description"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s has no %s", a.Alert, name)
			}
		}
		if want := runbooks + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %q, want %s", a.Alert, a.Annotations["runbook_url"], want)
		}
	}
}

var section = regexp.MustCompile(`(?m)^### (\w+)$`)

// Every alert has a section in the page, and every section an alert.
func TestAlertsAndPageGoTogether(t *testing.T) {
	t.Parallel()
	page := string(read(t, alertsPage))
	sections := make(map[string]string)
	heads := section.FindAllStringSubmatchIndex(page, -1)
	for i, h := range heads {
		end := len(page)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		name := page[h[2]:h[3]]
		if _, twice := sections[name]; twice {
			t.Errorf("there are two sections %s", name)
		}
		sections[name] = page[h[1]:end]
	}
	for _, a := range alerts(t) {
		text, ok := sections[a.Alert]
		if !ok {
			t.Errorf("%s has no section", a.Alert)
			continue
		}
		delete(sections, a.Alert)
		for _, part := range []string{"**What it means.** ", "**What to look at.** ", "**What to do.** "} {
			if strings.Count(text, "\n"+part) != 1 {
				t.Errorf("the section of %s does not say once %q", a.Alert, part)
			}
		}
	}
	for name := range sections {
		t.Errorf("there is no alert %s, which the page tells of", name)
	}
}

// alertTests is what alerts_test.yaml holds, as far as it matters here.
type alertTests struct {
	Tests []struct {
		Name   string
		Series []struct {
			Name string `json:"series"`
		} `json:"input_series"`
		Rules []struct {
			Alert string `json:"alertname"`
			Want  []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	}
}

// Each alert is held to a healthy series, and to one in which it is silent first
// and fires then.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	var tests alertTests
	unmarshal(t, "../../deploy/prometheus/alerts_test.yaml", &tests)
	healthy, silent, fires := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, r := range test.Rules {
			switch {
			case test.Name == "healthy":
				healthy[r.Alert] = len(r.Want) == 0
			case test.Name != r.Alert:
				t.Errorf("the test %q is of %s", test.Name, r.Alert)
			case len(r.Want) == 0:
				silent[r.Alert] = true
			default:
				fires[r.Alert] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !healthy[a.Alert] || !silent[a.Alert] || !fires[a.Alert] {
			t.Errorf("%s is not tested in full: healthy %v, silent %v, fires %v", a.Alert, healthy[a.Alert], silent[a.Alert], fires[a.Alert])
		}
	}
}
