package deploy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

const (
	dashboardFile = "../../deploy/grafana/retryd.json"
	ourDatasource = "${datasource}"
)

// board is what matters of a dashboard here.
type board struct {
	UID        string
	Title      string
	Panels     []panel
	Templating struct {
		List []struct {
			Name       string
			Type       string
			Definition string
			Datasource datasource
		}
	}
	Annotations struct {
		List []struct {
			Expr       string
			Datasource datasource
		}
	}
}

type datasource struct {
	Type, UID string
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID      string
		Expr       string
		Datasource datasource
	}
}

func dashboard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal(read(t, dashboardFile), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// rows are the dashboard's, from what to look at first.
var rows = []string{"What matters now", "Flow", "Lateness", "Queues", "Dead letters and holds", "Redis", "Calls", "Process"}

func TestDashboardIsWhole(t *testing.T) {
	t.Parallel()
	b := dashboard(t)
	var titles []string
	ids := make(map[int]bool)
	used := make(map[[2]int]string)
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := used[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("%q lies over %q, or past the edge", p.Title, other)
				}
				used[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			titles = append(titles, p.Title)
			continue
		}
		if p.Title == "" || p.Description == "" {
			t.Errorf("panel %d is called %q and says %q", p.ID, p.Title, p.Description)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource.UID != ourDatasource || p.Datasource.UID != ourDatasource {
				t.Errorf("%q: query %s repeats a name, or asks %q", p.Title, target.RefID, target.Datasource.UID)
			}
			refs[target.RefID] = true
		}
		if len(p.Targets) == 0 && p.Type != "alertlist" {
			t.Errorf("%q asks nothing", p.Title)
		}
	}
	if !slices.Equal(titles, rows) {
		t.Errorf("the rows are %q, want %q", titles, rows)
	}
	var variables []string
	for _, v := range b.Templating.List {
		variables = append(variables, v.Name)
		if v.Type == "query" && v.Datasource.UID != ourDatasource {
			t.Errorf("variable %s asks %q", v.Name, v.Datasource.UID)
		}
	}
	if want := []string{"datasource", "job", "namespace", "queue"}; !slices.Equal(variables, want) {
		t.Errorf("the variables are %q, want %q", variables, want)
	}
}

// grafana puts values in the place of Grafana's variables, as it does itself.
var grafana = strings.NewReplacer("$__rate_interval", "1m", "$job", "retryd", "$namespace", ".*", "$queue", ".*")

// query is a PromQL expression and where it stands.
type query struct {
	where, expr string
}

// dashboardQueries are all that the dashboard asks.
func dashboardQueries(t *testing.T) []query {
	t.Helper()
	b := dashboard(t)
	var out []query
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			out = append(out, query{p.Title, grafana.Replace(target.Expr)})
		}
	}
	for _, a := range b.Annotations.List {
		out = append(out, query{"annotation", grafana.Replace(a.Expr)})
	}
	for _, v := range b.Templating.List {
		// Its definition is label_values(series, label).
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			series := inner[:strings.LastIndex(inner, ",")]
			out = append(out, query{"variable " + v.Name, grafana.Replace(series)})
		}
	}
	return out
}

// Every query is one that Prometheus takes.
func TestDashboardQueriesParse(t *testing.T) {
	t.Parallel()
	queries := dashboardQueries(t)
	if len(queries) < 50 {
		t.Errorf("the dashboard has %d queries", len(queries))
	}
	for _, q := range queries {
		if strings.Contains(q.expr, "$") {
			t.Errorf("%s: a variable is left in %s", q.where, q.expr)
		}
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr); err != nil {
			t.Errorf("%s: %s: %v", q.where, q.expr, err)
		}
	}
}
