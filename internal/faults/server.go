package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Server is one `retryd serve`, which keeps its ports for life. Its methods are for
// one goroutine at a time.
type Server struct {
	*Process
	// Addr is its gRPC port, Admin that of its probes and profiles.
	Addr, Admin string
	name        string
	dir         string
	path        string
	args        []string
}

// servers is how many there are.
const servers = 3

// newServer chooses ports, and starts nothing.
func newServer(ctx context.Context, dir string, i int, bin, redisURL, policies string, more []string) (*Server, error) {
	s := &Server{name: fmt.Sprintf("server-%d", i), dir: dir, path: bin}
	for _, addr := range []*string{&s.Addr, &s.Admin} {
		var err error
		if *addr, err = freeAddr(ctx); err != nil {
			return nil, err
		}
	}
	s.args = append([]string{
		"serve", "--listen=" + s.Addr, "--admin-listen=" + s.Admin, "--pprof", "--redis-url=" + redisURL,
		"--policies=" + policies, "--drain-timeout=5s", "--log-format=text",
	}, more...)
	return s, nil
}

// freeAddr returns an address on loopback whose port nobody is given by chance
// while its process is away: it lies below those of outgoing connections, and above
// those of Redis.
func freeAddr(ctx context.Context) (string, error) {
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(15_000+rand.IntN(15_000))) //nolint:gosec // it only has to be free
		var config net.ListenConfig
		if l, err := config.Listen(ctx, "tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port from 15000 to 30000 is free")
}

// Start starts it, also after Kill or Stop, and waits until it serves.
func (s *Server) Start(ctx context.Context) error {
	offset := logSize(filepath.Join(s.dir, s.name+".log"))
	var err error
	if s.Process, err = startProcess(s.dir, s.name, nil, s.path, s.args...); err != nil {
		return err
	}
	return s.awaitLog(ctx, offset, "redis can be used: serving")
}

// goroutines counts those of the server.
func (s *Server) goroutines(ctx context.Context) (int, error) {
	text, err := s.profile(ctx, "goroutine?debug=1")
	if err != nil {
		return 0, fmt.Errorf("count the goroutines of %s: %w", s.name, err)
	}
	return figureAfter(text, "total ")
}

// live is what the server's heap and stacks hold once all garbage is collected.
func (s *Server) live(ctx context.Context) (int64, error) {
	text, err := s.profile(ctx, "heap?debug=1&gc=1")
	if err != nil {
		return 0, fmt.Errorf("what %s holds in memory: %w", s.name, err)
	}
	heap, err := figureAfter(text, "# HeapAlloc = ")
	if err != nil {
		return 0, err
	}
	stacks, err := figureAfter(text, "# Stack = ")
	return int64(heap) + int64(stacks), err
}

// figureAfter is the number that follows a label.
func figureAfter(text, label string) (int, error) {
	_, rest, ok := strings.Cut(text, label)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || end < 0 {
		return 0, fmt.Errorf("no %q in the profile: %.200q", label, text)
	}
	return strconv.Atoi(rest[:end])
}

// profile returns one of Go's own.
func (s *Server) profile(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+"/debug/pprof/"+name, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// files is how many files and connections a process has open.
func files(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}

// resident is how many bytes of memory a process holds.
func resident(pid int) (int64, error) { return memory(pid, "VmRSS") }

// memory is a figure of /proc/<pid>/status, in bytes.
func memory(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc does not tell %s of process %d", field, pid)
}
