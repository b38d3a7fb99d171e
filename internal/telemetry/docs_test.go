package telemetry_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/internal/docstest"
)

// told are the metrics that docs/metrics.md tells of, each as "name type label,label".
func told(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docstest.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile("`([a-z_]+)`")
	var out []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) != 5 {
			continue
		}
		var labels []string
		for _, m := range word.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, m[1])
		}
		slices.Sort(labels)
		out = append(out, strings.Trim(cells[0], "|` ")+" "+cells[1]+" "+strings.Join(labels, ","))
	}
	slices.Sort(out)
	return out
}

// TestDocsTellOfAllMetrics holds the tables to what is served.
func TestDocsTellOfAllMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.play()
	families, err := s.metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "retryd_") && !strings.HasPrefix(f.GetName(), "grpc_") {
			continue
		}
		labels := make(map[string]bool)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		served = append(served, f.GetName()+" "+strings.ToLower(f.GetType().String())+" "+strings.Join(slices.Sorted(maps.Keys(labels)), ","))
	}
	slices.Sort(served)
	docs := told(t)
	for _, m := range served {
		if !slices.Contains(docs, m) {
			t.Errorf("served, and not told of: %s", m)
		}
	}
	for _, m := range docs {
		if !slices.Contains(served, m) {
			t.Errorf("told of, and not served: %s", m)
		}
	}
}
