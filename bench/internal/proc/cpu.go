package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of /proc on every Linux that Go runs on.
const ticksPerSecond = 100

// stat is what /proc tells of one process: its parent, and the ticks that it and
// those of its children that have ended have used.
type stat struct {
	parent int
	ticks  int64
}

// CPU returns the seconds of CPU that a process has used, with all that it has
// started, ended or not.
func CPU(pid int) (float64, error) {
	all, err := stats()
	if err != nil {
		return 0, err
	}
	if _, ok := all[pid]; !ok {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	children := make(map[int][]int)
	for id, s := range all {
		children[s.parent] = append(children[s.parent], id)
	}
	var ticks int64
	for left := []int{pid}; len(left) > 0; {
		id := left[0]
		left = append(left[1:], children[id]...)
		ticks += all[id].ticks
	}
	return float64(ticks) / ticksPerSecond, nil
}

// stats reads every process.
func stats() (map[int]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("list processes: /proc has none (%w)", err)
	}
	all := make(map[int]stat, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, s, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all[pid] = s
	}
	return all, nil
}

// The places of fields behind the name, as proc(5) counts them less 3.
const (
	fieldParent = 1
	fieldUser   = 11
	fieldLast   = 14
)

// parseStat reads /proc/PID/stat. The name in parentheses may hold anything, so
// fields are counted from its end.
func parseStat(text string) (int, stat, error) {
	head, _, ok := strings.Cut(text, " (")
	end := strings.LastIndexByte(text, ')')
	if !ok || end < 0 {
		return 0, stat{}, fmt.Errorf("it has no name: %q", text)
	}
	pid, err := strconv.Atoi(head)
	if err != nil {
		return 0, stat{}, fmt.Errorf("process id: %w", err)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) <= fieldLast {
		return 0, stat{}, fmt.Errorf("it has %d fields behind the name", len(fields))
	}
	var s stat
	if s.parent, err = strconv.Atoi(fields[fieldParent]); err != nil {
		return 0, stat{}, fmt.Errorf("parent: %w", err)
	}
	for _, f := range fields[fieldUser : fieldLast+1] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, stat{}, fmt.Errorf("ticks: %w", err)
		}
		s.ticks += n
	}
	return pid, s, nil
}

// MachineCPU returns the seconds of CPU that the whole machine has used, and
// those that its host has kept from it.
func MachineCPU() (used, stolen float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read the machine's use: %w", err)
	}
	return parseMachine(string(text))
}

func parseMachine(text string) (used, stolen float64, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal ...
	const user, idle, iowait, steal = 1, 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("the machine's use has the form %q", line)
	}
	for i := user; i <= steal; i++ {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return 0, 0, fmt.Errorf("the machine's use: %w", err)
		}
		switch i {
		case idle, iowait:
		case steal:
			stolen = n / ticksPerSecond
		default:
			used += n / ticksPerSecond
		}
	}
	return used, stolen, nil
}
