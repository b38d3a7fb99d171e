package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncs does what a process wants synced to disk in its place, and so knows what of
// its files is there when the power goes: nothing of the page cache, and all that was
// synced. The process is started by this program, as syncsCommand, which has the kernel
// hold each of its fsyncs until we have answered it.
type syncs struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu sync.Mutex
	// files are what is known of each file, by its path.
	files map[string]synced
	// errs are why something was not synced.
	errs []error
}

// synced is the last sync of a file that has ended.
type synced struct {
	began time.Time
	size  int64
}

// newSyncs returns one that listens at a path; it ends with close. It fails with a
// cannotError where the kernel does not tell of syncs.
func newSyncs(ctx context.Context, path string) (*syncs, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen to syncs: %w", err)
	}
	s := &syncs{listener: l, files: make(map[string]synced)}
	s.wg.Go(s.accept)
	if err := s.try(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// try starts a command whose syncs are to be done here.
func (s *syncs) try(ctx context.Context) error {
	before, err := s.before()
	if err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, before[0], append(before[1:], "true")...).CombinedOutput(); err != nil {
		return &cannotError{fmt.Sprintf("the kernel does not tell of syncs: %v: %s", err, strings.TrimSpace(string(text)))}
	}
	return nil
}

// before is what is put before a command whose syncs are to be done here.
func (s *syncs) before() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{self, syncsCommand, s.listener.Addr().String()}, nil
}

// close ends it, when the processes have ended.
func (s *syncs) close() error {
	err := s.listener.Close()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(s.errs, err)...)
}

// accept serves processes as they come.
func (s *syncs) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			fd, err := receiveFile(conn)
			if err == nil {
				err = s.serve(fd)
			}
			if err != nil {
				s.mu.Lock()
				s.errs = append(s.errs, err)
				s.mu.Unlock()
			}
		})
	}
}

// receiveFile takes a file from a process that sends one.
func receiveFile(conn net.Conn) (fd int, err error) {
	defer func() { _ = conn.Close() }()
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("receive a file: it is no unix socket")
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return 0, fmt.Errorf("receive a file: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("receive a file: %d came: %w", len(messages), errors.Join(err))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("receive a file: %d came: %w", len(fds), errors.Join(err))
	}
	return fds[0], nil
}

// The kernel's struct seccomp_notif and seccomp_notif_resp: where is what, and how long
// they are.
const (
	notifyBytes, notifyID, notifyPID, notifyFD = 80, 0, 8, 32
	answerBytes, answerID, answerError         = 24, 0, 16
)

// serve answers all syncs that a filter of the kernel tells of, until there is no
// process any more that it is for.
func (s *syncs) serve(listener int) error {
	defer func() { _ = unix.Close(listener) }()
	for {
		ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for syncs: %w", err)
		}
		switch {
		case ready[0].Revents&unix.POLLIN == 0 && ready[0].Revents != 0:
			return nil
		case ready[0].Revents == 0:
			continue
		}
		var notify [notifyBytes]byte
		if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, &notify[0]); err != nil {
			continue // who asked was killed meanwhile
		}
		pid := binary.NativeEndian.Uint32(notify[notifyPID:])
		fd := binary.NativeEndian.Uint64(notify[notifyFD:])
		var answer [answerBytes]byte
		copy(answer[answerID:], notify[notifyID:notifyID+8])
		if err := s.sync(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err != nil {
			failed := -int32(unix.EIO)
			binary.NativeEndian.PutUint32(answer[answerError:], uint32(failed)) //nolint:gosec // its bits are meant
		}
		// It may have been killed meanwhile, and then nobody waits.
		_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, &answer[0])
	}
}

func ioctl(fd int, what uintptr, of *byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), what, uintptr(unsafe.Pointer(of))); errno != 0 {
		return errno
	}
	return nil
}

// sync syncs the file that a link of /proc leads to, and takes note of what of it is on
// disk by then for sure: what was there when it began.
func (s *syncs) sync(link string) error {
	path, err := os.Readlink(link)
	if err != nil {
		return err
	}
	began := time.Now()
	f, err := os.Open(link)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = synced{began: began, size: info.Size()}
	return nil
}

// cut is a loss of power: it cuts the append-only files in a server's directory, which
// has ended, back to what was synced. It returns how many bytes are lost, and when the
// last sync of them began.
func (s *syncs) cut(dir string) (lost int64, last time.Time, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(paths) == 0 {
		return 0, time.Time{}, fmt.Errorf("there is no append-only file in %s: %w", dir, errors.Join(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return 0, time.Time{}, err
		}
		kept := s.files[path]
		if err := os.Truncate(path, kept.size); err != nil {
			return 0, time.Time{}, err
		}
		lost += info.Size() - kept.size
		if kept.began.After(last) {
			last = kept.began
		}
	}
	return lost, last, nil
}

// execWithSyncs has another do the syncs of a command, and becomes it.
func execWithSyncs(socket string, command []string) error {
	// The filter is for this thread, and for what becomes of it.
	runtime.LockOSThread()
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener, err := filterSyncs()
	if err != nil {
		return fmt.Errorf("have syncs listened to: %w", err)
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(listener), nil); err != nil {
		return fmt.Errorf("pass on who listens: %w", err)
	}
	return syscall.Exec(path, command, os.Environ())
}

// filterSyncs has the kernel hold all syncs of this thread, and returns the file by
// which it tells of them.
func filterSyncs() (listener int, err error) {
	const number = 0 // of the call, in the kernel's struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FDATASYNC, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}
