package report

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/retryd/retryd/bench/internal/system"
)

const (
	plotWidth  = 8 * vg.Inch
	plotHeight = 4 * vg.Inch
	// barWidth is in points, as all lengths of vg.
	barWidth vg.Length = 30
)

// plots draws what is best seen: the rates beside the peers', and how they go as
// pending tasks become more.
func plots(dir string, d *data) error {
	for _, step := range []string{"W1-64", "W1-batch", "W2-64", "W2-256"} {
		if err := plotRates(filepath.Join(dir, step+".svg"), d, step); err != nil {
			return err
		}
	}
	return plotGrowth(filepath.Join(dir, "W5.svg"), d)
}

// plotRates draws a bar for each system, lines from the least to the greatest
// over it.
func plotRates(path string, d *data, step string) error {
	names := d.systems(step)
	if len(names) == 0 {
		return nil
	}
	p := plot.New()
	p.Y.Label.Text = "tasks/s"
	p.Y.Min = 0
	for _, s := range d.Steps {
		if s.ID == step {
			p.Title.Text = s.ID + ": " + s.Title
		}
	}
	medians := make(plotter.Values, len(names))
	ranges := &yRanges{}
	for i, name := range names {
		s := d.spread(step, name, rate)
		medians[i] = s.Median
		ranges.XYs = append(ranges.XYs, plotter.XY{X: float64(i), Y: s.Median})
		ranges.YErrors = append(ranges.YErrors, struct{ Low, High float64 }{s.Median - s.Min, s.Max - s.Median})
	}
	bars, err := plotter.NewBarChart(medians, barWidth)
	if err != nil {
		return fmt.Errorf("plot %s: %w", step, err)
	}
	bars.Color = plotutil.Color(2)
	lines, err := plotter.NewYErrorBars(ranges)
	if err != nil {
		return fmt.Errorf("plot %s: %w", step, err)
	}
	p.Add(bars, lines)
	p.NominalX(names...)
	return save(p, path)
}

// yRanges is what gonum draws error bars of.
type yRanges struct {
	plotter.XYs
	plotter.YErrors
}

// plotGrowth draws the rates of W5 by how many tasks are pending.
func plotGrowth(path string, d *data) error {
	p := plot.New()
	p.Title.Text = "W5: rates beside other pending tasks"
	p.X.Label.Text = "pending tasks"
	p.Y.Label.Text = "tasks/s"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min = 0
	var lines []any
	for _, work := range []struct{ name, suffix string }{{"W1, batches of 100", "-W1"}, {"W2, 64 in flight", "-W2"}} {
		var points plotter.XYs
		for _, at := range []struct {
			name    string
			pending float64
		}{{"10k", 1e4}, {"100k", 1e5}, {"1M", 1e6}, {"3M", 3e6}} {
			if s := d.spread("W5-"+at.name+work.suffix, system.Retryd, rate); s.N > 0 {
				points = append(points, plotter.XY{X: at.pending, Y: s.Median})
			}
		}
		if len(points) > 1 {
			lines = append(lines, work.name, points)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return fmt.Errorf("plot the growth: %w", err)
	}
	return save(p, path)
}

func save(p *plot.Plot, path string) error {
	if err := p.Save(plotWidth, plotHeight, path); err != nil {
		return fmt.Errorf("write a plot: %w", err)
	}
	return nil
}
