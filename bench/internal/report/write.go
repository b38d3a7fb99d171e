package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/retryd/retryd/bench/internal/plan"
)

// Names of the files that are written.
const (
	JSONFile     = "results.json"
	MarkdownFile = "results.md"
)

// Write writes tables, raw figures and plots into a directory, which is made
// where there is none.
func Write(dir string, res *plan.Results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory for results: %w", err)
	}
	d := index(res)
	err := errors.Join(
		writeFile(filepath.Join(dir, JSONFile), func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", " ")
			return enc.Encode(res)
		}),
		writeFile(filepath.Join(dir, MarkdownFile), func(w io.Writer) error { return markdown(w, d) }),
	)
	return errors.Join(err, plots(dir, d))
}

func writeFile(path string, write func(w io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
