package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// destination is where events go: an HTTP server that fails in several ways
// before it works, or always. Another, the late one, refuses connections until
// comeUp.
type destination struct {
	addr, lateAddr string
	stop           context.CancelFunc
	comeUp         context.CancelFunc
	serving        errgroup.Group

	mu    sync.Mutex
	calls map[string]int // by path
	// taken has the keys of events that have taken effect, so that none does
	// twice, however often it is delivered.
	taken map[string]bool
}

func openDestination(ctx context.Context) (*destination, error) {
	ctx, stop := context.WithCancel(ctx)
	up, comeUp := context.WithCancel(ctx)
	d := &destination{stop: stop, comeUp: comeUp, calls: make(map[string]int), taken: make(map[string]bool)}
	lis, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.addr = lis.Addr().String()
	// A port that was free a moment ago refuses connections.
	late, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, lis.Close(), d.close())
	}
	d.lateAddr = late.Addr().String()
	if err := late.Close(); err != nil {
		return nil, errors.Join(err, lis.Close(), d.close())
	}
	d.serving.Go(func() error { return d.serve(ctx, lis) })
	d.serving.Go(func() error {
		<-up.Done()
		return d.serveLate(ctx)
	})
	return d, nil
}

func (d *destination) serveLate(ctx context.Context) error {
	if ctx.Err() == nil {
		lis, err := listen(ctx, d.lateAddr)
		if err != nil {
			return err
		}
		return d.serve(ctx, lis)
	}
	return nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

func (d *destination) serve(ctx context.Context, lis net.Listener) error {
	srv := &http.Server{Handler: d, ReadHeaderTimeout: time.Second}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the destination: %w", err)
	}
	return nil
}

func (d *destination) close() error {
	d.stop()
	return d.serving.Wait()
}

func (d *destination) url(path string) string     { return "http://" + d.addr + path }
func (d *destination) lateURL(path string) string { return "http://" + d.lateAddr + path }

// ServeHTTP fails by the path of the request.
func (d *destination) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A server notices that a caller has gone only once the body is read.
	_, _ = io.Copy(io.Discard, r.Body)
	key := r.Header.Get("Idempotency-Key")
	switch first := d.called(r.URL.Path); r.URL.Path {
	case "/unavailable":
		if first {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	case "/busy":
		if first {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
	case "/slow":
		if first {
			// The event takes effect, but the caller does not learn it.
			d.take(key)
			<-r.Context().Done()
			return
		}
	case "/gone":
		w.WriteHeader(http.StatusNotFound)
		return
	case "/broken":
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	d.take(key)
	w.WriteHeader(http.StatusNoContent)
}

func (d *destination) called(path string) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[path]++
	return d.calls[path] == 1
}

// take lets an event take effect, unless it already has.
func (d *destination) take(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken[key] = true
}
