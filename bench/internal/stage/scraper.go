package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// scrapeInterval is how often metrics are read: some five times as often as a Prometheus
// would.
const scrapeInterval = 3 * time.Second

// scraper reads the metrics of a server, as a Prometheus does.
type scraper struct {
	cancel context.CancelFunc
	done   chan error
}

func startScraper(ctx context.Context, addr string) *scraper {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &scraper{cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- scrapeAll(ctx, addr) }()
	return s
}

func (s *scraper) stop() error {
	s.cancel()
	return <-s.done
}

// scrapeAll reads until ctx ends, and returns the last error of a server that could be
// read before.
func scrapeAll(ctx context.Context, addr string) error {
	tick := time.NewTicker(scrapeInterval)
	defer tick.Stop()
	begun := false
	var failed error
	for {
		select {
		case <-ctx.Done():
			return failed
		case <-tick.C:
		}
		switch err := scrape(ctx, addr); {
		case err == nil:
			begun = true
		case begun && ctx.Err() == nil:
			failed = err
		}
	}
}

func scrape(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("scrape: %s", resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
