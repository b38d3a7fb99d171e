package deploy_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// metric is one that docs/metrics.md tells of; another test holds that page to what
// the server serves.
type metric struct {
	histogram bool
	labels    []string
	meaning   string
}

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `((?:retryd|grpc)_\\w+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\|")
	inBacktick = regexp.MustCompile("`([^`]+)`")
)

// metrics are all that a replica serves, by name. Of a histogram there are three.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	out := make(map[string]metric)
	for _, row := range metricRow.FindAllStringSubmatch(string(read(t, "../../docs/metrics.md")), -1) {
		m := metric{histogram: row[2] == "histogram", meaning: row[4]}
		for _, l := range inBacktick.FindAllStringSubmatch(row[3], -1) {
			m.labels = append(m.labels, l[1])
		}
		if !m.histogram {
			out[row[1]] = m
			continue
		}
		out[row[1]+"_count"], out[row[1]+"_sum"] = m, m
		m.labels = append(slices.Clone(m.labels), "le")
		out[row[1]+"_bucket"] = m
	}
	if len(out) < 40 {
		t.Fatalf("docs/metrics.md tells of %d metrics", len(out))
	}
	return out
}

// ruleQueries are the expressions of the rules.
func ruleQueries(t *testing.T) []query {
	t.Helper()
	var out []query
	for _, a := range alerts(t) {
		out = append(out, query{a.Alert, a.Expr})
	}
	return out
}

// Rules and dashboard ask for metrics that there are, by labels and values that they
// have: Prometheus takes any name, and a wrong one is never heard of again.
func TestMetricsThatAreAskedForExist(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	for _, q := range append(ruleQueries(t), dashboardQueries(t)...) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
			continue
		}
		var of []string
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				of = append(of, checkSelector(t, q.where, s, known)...)
			}
			return nil
		})
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if a, ok := node.(*parser.AggregateExpr); ok {
				for _, l := range a.Grouping {
					if !slices.Contains(of, l) {
						t.Errorf("%s: none of its metrics has the label %s", q.where, l)
					}
				}
			}
			return nil
		})
	}
}

// fromScrapes are labels that Prometheus adds.
func fromScrapes() []string { return []string{"job", "instance"} }

// checkSelector returns the labels that its metric has.
func checkSelector(t *testing.T, where string, s *parser.VectorSelector, known map[string]metric) []string {
	t.Helper()
	// Those of the process are of libraries, and have no labels.
	if s.Name == "up" || strings.HasPrefix(s.Name, "process_") || strings.HasPrefix(s.Name, "go_") {
		return fromScrapes()
	}
	m, ok := known[s.Name]
	if !ok {
		t.Errorf("%s: there is no metric %s", where, s.Name)
		return nil
	}
	all := append(fromScrapes(), m.labels...)
	for _, matcher := range s.LabelMatchers {
		switch {
		case matcher.Name == model.MetricNameLabel:
		case !slices.Contains(all, matcher.Name):
			t.Errorf("%s: %s has no label %s", where, s.Name, matcher.Name)
		case matcher.Type == labels.MatchEqual && !told(t, s.Name, m, matcher.Name, matcher.Value):
			t.Errorf("%s: %s is never %q at %s", where, matcher.Name, matcher.Value, s.Name)
		}
	}
	return all
}

// told reports whether there is a label's value: the docs tell of it, or, of reasons of
// decisions and of scripts, their sources have it. Values of gRPC are of a library, and
// names of queues and versions are anybody's.
func told(t *testing.T, name string, m metric, label, value string) bool {
	t.Helper()
	if !strings.HasPrefix(name, "retryd_") || value == "" || slices.Contains(append(fromScrapes(), "namespace", "queue", "version", "le"), label) {
		return true
	}
	if label == "script" {
		scripts, err := filepath.Glob("../../scheduler/redisstore/lua/" + value + ".lua")
		return err == nil && len(scripts) == 1
	}
	if label == "reason" && strings.Contains(string(read(t, "../../proto/retry/v1/decision.proto")), " REASON_"+value+" = ") {
		return true
	}
	texts := []string{m.meaning}
	for _, page := range []string{"operating.md", "security.md", "errors.md", "reliability.md"} {
		texts = append(texts, string(read(t, "../../docs/"+page)))
	}
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "`"+value+"`") })
}

// The series that the tests of the rules are given are such as a replica serves: a rule
// that is held to others would be silent beside a real one.
func TestSeriesOfTheTestsExist(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	var tests alertTests
	unmarshal(t, "../../deploy/prometheus/alerts_test.yaml", &tests)
	for _, test := range tests.Tests {
		if len(test.Series) == 0 {
			t.Errorf("%s has no series", test.Name)
		}
		for _, series := range test.Series {
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(series.Name)
			if err != nil {
				t.Errorf("%s: %v", test.Name, err)
				continue
			}
			checkSelector(t, test.Name+": "+series.Name, expr.(*parser.VectorSelector), known)
		}
	}
}

// What there is to see is shown: each metric of our own is in a rule or on the
// dashboard.
func TestMetricsAreShown(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, q := range append(ruleQueries(t), dashboardQueries(t)...) {
		all.WriteString(q.expr + "\n")
	}
	for name, m := range metrics(t) {
		if !strings.HasPrefix(name, "retryd_") {
			continue
		}
		if m.histogram {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_count"), "_sum"), "_bucket")
		}
		if !strings.Contains(all.String(), name) {
			t.Errorf("%s is in no rule and on no panel", name)
		}
	}
}
