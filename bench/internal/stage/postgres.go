package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/retryd/retryd/bench/internal/proc"
	"github.com/retryd/retryd/bench/internal/system"
)

// postgresSettings are those of every Postgres: as little as possible written to
// the disk, like the Redis that it stands beside.
var postgresSettings = []string{
	"fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=1GB",
	"max_wal_size=8GB", "checkpoint_timeout=30min", "max_connections=100",
}

// postgres makes servers from a directory that was made once.
type postgres struct {
	bin, dir string
	// cred are those of the user that runs it: it refuses to be run by root.
	cred *syscall.Credential
}

type postgresServer struct {
	*proc.Process
	url, data string
}

const postgresUser = "postgres"

// newPostgres makes the directory that servers start from, with River's tables.
func newPostgres(ctx context.Context, bin string) (*postgres, error) {
	pg := &postgres{bin: bin}
	if err := pg.prepare(ctx); err != nil {
		return nil, errors.Join(err, pg.close())
	}
	return pg, nil
}

func (pg *postgres) prepare(ctx context.Context) error {
	var err error
	if pg.dir, err = os.MkdirTemp("", "retryd-bench-postgres-"); err != nil {
		return fmt.Errorf("make a directory for postgres: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := pg.giveAway(); err != nil {
			return err
		}
	}
	cmd := pg.command(ctx, "initdb", "--pgdata", pg.template(), "--auth", "trust", "--username", postgresUser, "--encoding", "UTF8", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w:\n%s", err, out)
	}
	s, err := pg.run(ctx, pg.dir, pg.template())
	if err != nil {
		return err
	}
	return errors.Join(system.MigrateRiver(ctx, s.url), s.end())
}

// giveAway makes the directory the system's postgres user's.
func (pg *postgres) giveAway() error {
	u, err := user.Lookup(postgresUser)
	if err != nil {
		return fmt.Errorf("postgres is not run by root: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return fmt.Errorf("user id of %s: %w", postgresUser, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return fmt.Errorf("group id of %s: %w", postgresUser, err)
	}
	pg.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(pg.dir, uid, gid)
}

func (pg *postgres) template() string { return filepath.Join(pg.dir, "template") }

func (pg *postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(pg.bin, name), args...)
	cmd.Dir = pg.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.cred}
	return cmd
}

// start starts a server with empty tables.
func (pg *postgres) start(ctx context.Context, logs string) (*postgresServer, error) {
	data, err := os.MkdirTemp(pg.dir, "data-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for postgres: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", pg.template()+"/.", data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the template of postgres: %w: %s", err, out)
	}
	return pg.run(ctx, logs, data)
}

func (pg *postgres) run(ctx context.Context, logs, data string) (*postgresServer, error) {
	addr, err := proc.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	args := []string{"-D", data, "-h", "127.0.0.1", "-p", port, "-k", pg.dir}
	for _, s := range postgresSettings {
		args = append(args, "-c", s)
	}
	p, err := proc.Start(logs, "postgres", pg.command(context.WithoutCancel(ctx), "postgres", args...))
	if err != nil {
		return nil, err
	}
	s := &postgresServer{Process: p, data: data, url: "postgres://" + postgresUser + "@" + addr + "/postgres?sslmode=disable"}
	if err := p.Await(ctx, func(ctx context.Context) error { return system.PingPostgres(ctx, s.url) }); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// end stops the server at once: SIGINT ends its sessions, where SIGTERM waits for
// them.
func (s *postgresServer) end() error { return s.StopBy(syscall.SIGINT) }

func (s *postgresServer) stop() error { return errors.Join(s.end(), os.RemoveAll(s.data)) }

func (pg *postgres) close() error { return os.RemoveAll(pg.dir) }
