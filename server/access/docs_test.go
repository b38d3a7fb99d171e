package access_test

import (
	"os"
	"strings"
	"testing"

	"github.com/retryd/retryd/server/access"
)

// table is the table of roles as the guide has it.
func table() string {
	var b strings.Builder
	for _, r := range access.Rules() {
		name := strings.TrimPrefix(r.Method, "/")
		if short, ok := strings.CutPrefix(name, "retry.v1."); ok {
			name = strings.ReplaceAll(short, "/", ".")
		}
		b.WriteString("| `" + name + "`")
		if r.Case != "" {
			b.WriteString(" " + r.Case)
		}
		b.WriteString(" | " + r.Roles.String() + " |\n")
	}
	return b.String()
}

func TestGuideHasTheTableOfRoles(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "| method | roles |\n|---|---|\n" + table() + "\n"; !strings.Contains(string(guide), want) {
		t.Errorf("docs/security.md should have\n%s", want)
	}
	for _, reason := range access.Reasons() {
		if !strings.Contains(string(guide), "| `"+reason+"` |") {
			t.Errorf("docs/security.md says nothing of %s", reason)
		}
	}
}

func TestExampleFileIsTaken(t *testing.T) {
	t.Parallel()
	if _, err := access.New(access.Config{File: "../../deploy/access.example.yaml"}); err != nil {
		t.Error(err)
	}
}
