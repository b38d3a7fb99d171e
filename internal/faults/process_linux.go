package main

import "syscall"

// apart has a process be in a group of its own, and not outlive us.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
