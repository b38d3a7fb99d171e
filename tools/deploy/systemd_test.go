package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unitFile = "../../deploy/systemd/retryd.service"

// systemdAnalyze runs systemd's own check on the unit, with a program that is there.
func systemdAnalyze(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing; it comes with systemd")
	}
	unit := filepath.Join(t.TempDir(), "retryd.service")
	text := strings.ReplaceAll(string(read(t, unitFile)), "/usr/local/bin/retryd", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, append(args, unit)...).CombinedOutput()
	if err != nil || args[0] == "verify" && len(out) > 0 {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestUnitIsTaken(t *testing.T) {
	t.Parallel()
	systemdAnalyze(t, "verify", "--man=no")
}

// It is exposed to at most 2.0 of 10, by systemd's own account.
func TestUnitIsConfined(t *testing.T) {
	t.Parallel()
	systemdAnalyze(t, "security", "--no-pager", "--offline=true", "--threshold=20")
}

// It may take as many connections and as long to stop as retryd does by default.
func TestUnitLeavesRoom(t *testing.T) {
	t.Parallel()
	unit, example := string(read(t, unitFile)), make(map[string]any)
	unmarshal(t, "../../deploy/retryd.example.yaml", &example)
	if files, connections := directive(t, unit, "LimitNOFILE"), example["max-connections"].(float64); float64(files) < 2*connections {
		t.Errorf("it may open %d files, and take %g connections", files, connections)
	}
	if stop, drain := directive(t, unit, "TimeoutStopSec"), duration(t, example["drain-timeout"]); float64(stop) < drain.Seconds()+5 {
		t.Errorf("it is killed after %d s, and drains for %s", stop, drain)
	}
}

// directive is the number that the unit gives a directive.
func directive(t *testing.T, unit, name string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `=(\d+)$`).FindStringSubmatch(unit)
	if found == nil {
		t.Fatalf("the unit says nothing of %s", name)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
