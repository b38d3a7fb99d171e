package docstest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/docstest"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server/wire"
)

// Go is printed as it stands in a runnable Example, which go test runs.
func TestGoBlocksAreLinesOfExamples(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	found := 0
	for _, f := range files(t) {
		for _, b := range f.blocks {
			if b.Lang != "go" {
				continue
			}
			found++
			if len(b.Info) != 1 {
				t.Errorf("%s:%d: the block does not name its Example", f.name, b.Line)
				continue
			}
			dir, name, _ := strings.Cut(b.Info[0], ".")
			body := exampleBody(t, filepath.Join(root, dir), name)
			if !strings.Contains("\n"+body, "\n"+b.Text) {
				t.Errorf("%s:%d: these lines are not in %s as they stand:\n%s\nwhich is:\n%s", f.name, b.Line, b.Info[0], b.Text, body)
			}
		}
	}
	if found == 0 {
		t.Error("there are no blocks of Go")
	}
}

// exampleBody returns the body of an Example with output, its lines moved out by
// one tab.
func exampleBody(t *testing.T, dir, name string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(fset, path, source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Name.Name != name {
				continue
			}
			body := string(source[fset.Position(fn.Body.Lbrace).Offset+2 : fset.Position(fn.Body.Rbrace).Offset])
			if !strings.Contains(body, "// Output:") {
				t.Errorf("%s has no output, so nobody runs it", name)
			}
			return strings.ReplaceAll(strings.TrimPrefix(body, "\t"), "\n\t", "\n")
		}
	}
	t.Fatalf("%s has no %s", dir, name)
	return ""
}

// Policy files are such that the server takes them, and lines of a ready-made one
// are as they stand there.
func TestPolicyFilesAreValid(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	for _, f := range files(t) {
		for _, b := range f.blocks {
			if b.Lang != "yaml" {
				continue
			}
			if b.Source() != "" {
				source, err := os.ReadFile(filepath.Join(root, b.Source()))
				if err != nil || !strings.Contains("\n"+string(source), "\n"+b.Text) {
					t.Errorf("%s:%d: these lines are not in %s as they stand (%v):\n%s", f.name, b.Line, b.Source(), err, b.Text)
				}
				continue
			}
			if slices.Equal(b.Info, []string{"settings"}) {
				continue
			}
			name := fmt.Sprintf("%s, in the block of line %d", f.name, b.Line)
			if _, err := policyfile.Parse(name, []byte(b.Text), func(p *retryv1.Policy) []policy.Violation {
				_, violations := wire.CheckPolicy(p, time.Now().UnixMilli())
				return violations
			}); err != nil {
				t.Error(err)
			}
		}
	}
}

// The worked schedule is what PreviewPolicy answers for the policy above it.
func TestWorkedScheduleIsThatOfThePreview(t *testing.T) {
	t.Parallel()
	page := named(t, "docs/policies.md")
	i := slices.IndexFunc(page.blocks, func(b docstest.Block) bool { return slices.Equal(b.Info, []string{"worked.yaml"}) })
	if i < 0 {
		t.Fatal("there is no worked.yaml")
	}
	parsed, err := policyfile.Parse("worked.yaml", []byte(page.blocks[i].Text), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := wire.PolicyFromProto(parsed[0])
	sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := sched.Preview(t.Context(), scheduler.PreviewRequest{
		Namespace: "default", Policy: p, TaskID: "order-42",
		StartMS:  time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC).UnixMilli(),
		Failures: []policy.Failure{{Cause: policy.CauseTimeout}},
	})
	if err != nil {
		t.Fatal(err)
	}
	seconds := func(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) + " s" }
	base := p.Schedule.Exponential
	var want []string
	for n, d := range got {
		if d.Decision.Action != policy.ActionRetry {
			break
		}
		delay := min(float64(base.InitialDelay.Milliseconds())*math.Pow(base.Multiplier, float64(n)), float64(base.MaxDelay.Milliseconds()))
		want = append(want, fmt.Sprintf("| %d | %s | %s to %s | %s | %s |", n+1, seconds(int64(delay)),
			seconds(d.EarliestMS-d.FailureMS), seconds(d.LatestMS-d.FailureMS), seconds(d.Decision.DelayMS),
			time.UnixMilli(d.Decision.NextMS).UTC().Format("15:04:05.000")))
	}
	if rows := strings.Join(want, "\n"); len(want) != 6 || !strings.Contains(page.prose, rows+"\n\n") {
		t.Errorf("the rows must be\n%s", rows)
	}
}

// The tables of running.md and errors.md are held to the code, too: what a
// reader looks up there is there.
func TestErrorTableIsThatOfTheServer(t *testing.T) {
	t.Parallel()
	page := named(t, "docs/errors.md")
	told := make(map[string]string)
	for line := range strings.Lines(page.prose) {
		if cells := cellsOf(line); len(cells) == 4 && strings.HasPrefix(cells[0], "`") {
			told[strings.Trim(cells[1], "`")] = strings.Trim(cells[0], "`")
		}
	}
	for reason, code := range reasons(t) {
		if told[reason] != code {
			t.Errorf("%s is %s, errors.md says %q", reason, code, told[reason])
		}
		delete(told, reason)
	}
	for reason := range told {
		t.Errorf("errors.md tells of %s, which the server does not know", reason)
	}
}

// reasons are all reasons of server/errors.go, with their codes.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(docstest.Root(t), "server", "errors.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := constants(parsed)
	out := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		var reason, code string
		for _, e := range lit.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, ok := kv.Key.(*ast.Ident)
			if !ok {
				continue
			}
			switch v := kv.Value.(type) {
			case *ast.BasicLit:
				if key.Name == "reason" {
					reason = strings.Trim(v.Value, `"`)
				}
			case *ast.Ident:
				if key.Name == "reason" {
					reason = named[v.Name]
				}
			case *ast.SelectorExpr:
				if key.Name == "code" {
					code = upperSnake(v.Sel.Name)
				}
			}
		}
		if reason != "" && code != "" {
			out[reason] = code
		}
		return true
	})
	if len(out) < 10 {
		t.Fatalf("only %d reasons found in server/errors.go: %v", len(out), out)
	}
	return out
}

// constants are the texts of a file that have a name.
func constants(parsed *ast.File) map[string]string {
	out := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			out[spec.Names[0].Name] = strings.Trim(lit.Value, `"`)
		}
		return true
	})
	return out
}

// upperSnake turns the name of a code in Go into that of the API.
func upperSnake(name string) string {
	if name == "Canceled" {
		return "CANCELLED"
	}
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

// cellsOf are those of a line of a table.
func cellsOf(line string) []string {
	line, isRow := strings.CutPrefix(strings.TrimSpace(line), "|")
	line, ends := strings.CutSuffix(line, "|")
	if !isRow || !ends {
		return nil
	}
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}
