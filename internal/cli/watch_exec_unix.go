//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// apart runs a command in a process group of its own, which the signals of the
// terminal do not reach, and which ends as a whole: politely, then for good.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
