package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"

	"github.com/retryd/retryd/internal/redisproc"
)

// link joins this machine to a network namespace, the far side, and can be cut. What
// is sent over a link that is cut is lost without a word, as in a partition: whoever
// has sent it waits.
type link struct {
	// space is the namespace, ends are the interfaces here and there, ips their
	// addresses.
	space string
	ends  [2]string
	ips   [2]string
}

// nowhere is a hardware address that nobody has.
const nowhere = "02:00:00:00:00:01"

// newLink makes one, which ends with close. It fails with a cannotError where it may
// not, as it takes the rights of root and a kernel that knows namespaces.
func newLink(ctx context.Context) (*link, error) {
	// A namespace that is gone keeps the name of its link for a while.
	name := fmt.Sprintf("faults%06x", rand.IntN(1<<24)) //nolint:gosec // any that is free will do
	net := fmt.Sprintf("10.213.%d.", rand.IntN(256))    //nolint:gosec // any will do
	l := &link{space: name, ends: [2]string{name + "h", name + "f"}, ips: [2]string{net + "1", net + "2"}}
	for _, args := range []string{
		"netns add " + name,
		"netns exec " + name + " true",
		"link add " + l.ends[0] + " type veth peer name " + l.ends[1] + " netns " + name,
		"addr add " + l.ips[0] + "/24 dev " + l.ends[0],
		"link set " + l.ends[0] + " up",
		"-n " + name + " addr add " + l.ips[1] + "/24 dev " + l.ends[1],
		"-n " + name + " link set " + l.ends[1] + " up",
		"-n " + name + " link set lo up",
	} {
		if err := ip(ctx, args); err != nil {
			// What there is of it goes; its first command may have failed.
			_ = l.close(context.WithoutCancel(ctx))
			return nil, &cannotError{"a network namespace takes root and ip: " + err.Error()}
		}
	}
	return l, nil
}

// near and far are places on its two sides.
func (l *link) near() redisproc.Place { return redisproc.Place{IP: l.ips[0]} }

func (l *link) far() redisproc.Place {
	return redisproc.Place{IP: l.ips[1], Before: []string{"ip", "netns", "exec", l.space}}
}

// cut has each side send to nowhere what is for the other.
func (l *link) cut(ctx context.Context) error {
	return errors.Join(
		ip(ctx, "neigh replace "+l.ips[1]+" lladdr "+nowhere+" nud permanent dev "+l.ends[0]),
		ip(ctx, "-n "+l.space+" neigh replace "+l.ips[0]+" lladdr "+nowhere+" nud permanent dev "+l.ends[1]),
	)
}

// heal is the end of cut.
func (l *link) heal(ctx context.Context) error {
	return errors.Join(
		ip(ctx, "neigh del "+l.ips[1]+" dev "+l.ends[0]),
		ip(ctx, "-n "+l.space+" neigh del "+l.ips[0]+" dev "+l.ends[1]),
	)
}

// close removes the namespace, and the link with it.
func (l *link) close(ctx context.Context) error { return ip(ctx, "netns del "+l.space) }

// ip runs the program of that name.
func ip(ctx context.Context, args string) error {
	text, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(text)))
	}
	return nil
}
