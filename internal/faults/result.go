package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/retryd/retryd/internal/ledger"
)

// Result is what came of one fault on one topology.
type Result struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Topology Topology `json:"topology"`
	// Own are the figures of the fault itself.
	Own Figures `json:"figures"`
	// Audit is what the ledger and the store tell.
	Audit ledger.Figures `json:"audit"`
	// Refusals counts what reporters were told instead of a decision.
	Refusals map[string]int `json:"refusals"`
	// DrainedMS is how long all took to drain when no more was reported.
	DrainedMS int64 `json:"drained_ms"`
	// Held is the most that a server holds in the end, Clients what Redis has.
	Held    held `json:"held"`
	Clients int  `json:"redis_clients"`
	// TookMS is how long it took, from the start of Redis on.
	TookMS int64 `json:"took_ms"`
	// Skipped is why it could not be run on this machine, empty when it was.
	Skipped string `json:"skipped,omitempty"`
	// Broken tells all that is as it must not be; Logs is where the logs are then.
	Broken []string `json:"broken"`
	Logs   string   `json:"logs,omitempty"`
}

// verdict says in a word or two how it went.
func (r *Result) verdict() string {
	switch {
	case len(r.Broken) > 0:
		return "broken"
	case r.Skipped != "":
		return "skipped: " + r.Skipped
	}
	return "held"
}

// cannotError is why a fault cannot be run on this machine, which says nothing of
// retryd.
type cannotError struct{ why string }

// Error implements error.
func (e *cannotError) Error() string { return e.why }

// Results is the file that a run leaves behind.
type Results struct {
	Seed  uint64    `json:"seed"`
	Short bool      `json:"short"`
	Began time.Time `json:"began"`
	// Version is that of the retryd that was run, Redis that of the servers.
	Version string   `json:"version"`
	Redis   string   `json:"redis"`
	Rows    []Result `json:"rows"`
}

// write leaves results.json and results.md in dir.
func (r *Results) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var table strings.Builder
	r.table(&table)
	for name, content := range map[string]string{"results.json": string(text) + "\n", "results.md": table.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}

// table writes one row for each result.
func (r *Results) table(out io.Writer) {
	write := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	write("| F | fault | Redis | tasks | lost | claims lost | double | early | overlaps | stale taken / tried | drained | figures | |\n")
	write("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|---|\n")
	for _, row := range r.Rows {
		a := &row.Audit
		var own []string
		for _, f := range row.Own {
			own = append(own, f.Name+" "+f.Value)
		}
		verdict := row.verdict()
		if len(row.Broken) > 0 {
			verdict = "**" + verdict + "**"
		}
		write("| %s | %s | %s | %d | %d of %d | %d of %d | %d | %d | %d | %d / %d | %.1f s | %s | %s |\n", row.ID, row.Name, row.Topology, a.Tasks,
			a.LostReports+a.LostOutcomes, a.Reports+a.Outcomes, a.LostClaims, a.Handouts, a.Doubled, a.Early, a.Overlaps, a.StaleTaken, a.StaleTried,
			float64(row.DrainedMS)/1000, strings.Join(own, "; "), verdict)
	}
}
