//go:build !linux

package main

import "syscall"

// apart has a process be in a group of its own. It outlives us when we are killed.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
