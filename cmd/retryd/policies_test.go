package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

const onePolicy = `policies:
  - id: one
    display_name: One
    max_retries: 3
    fixed: {delay: 1s}
    default_action: RETRY
`

func TestApplyPolicyCreatesUpdatesUndeletesOrLeaves(t *testing.T) {
	t.Parallel()
	changed := strings.Replace(onePolicy, "delay: 1s", "delay: 2s", 1)
	for _, c := range []struct {
		name         string
		before       string
		deleted      bool
		file         string
		want         string
		wantRevision int64
	}{
		{"none there", "", false, onePolicy, "created", 1},
		{"the same there", onePolicy, false, onePolicy, "unchanged", 1},
		{"the same with its defaults written out", onePolicy, false, onePolicy + "    max_lease_expiries: 5\n", "unchanged", 1},
		{"another there", onePolicy, false, changed, "updated", 2},
		{"the same there, deleted", onePolicy, true, onePolicy, "unchanged", 1},
		{"another there, deleted", onePolicy, true, changed, "updated", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if c.before != "" {
				apply(t, sched, c.before)
			}
			if c.deleted {
				if _, err := sched.DeletePolicy(t.Context(), defaultNamespace, "one", ""); err != nil {
					t.Fatal(err)
				}
			}
			if got := apply(t, sched, c.file); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			now, err := sched.Policy(t.Context(), defaultNamespace, "one")
			if err != nil {
				t.Fatal(err)
			}
			if now.DeleteMS != 0 {
				t.Error("it is still deleted")
			}
			if now.Revision < c.wantRevision {
				t.Errorf("revision %d, want at least %d", now.Revision, c.wantRevision)
			}
			if got := apply(t, sched, c.file); got != "unchanged" {
				t.Errorf("%s the second time, want unchanged", got)
			}
		})
	}
}

// unconfirming is a store whose policies are not confirmed while it is short of
// replicas.
type unconfirming struct {
	scheduler.Store
	short bool
}

func (u *unconfirming) PutPolicy(ctx context.Context, rec *scheduler.PolicyRecord, expect int64) (bool, error) {
	ok, err := u.Store.PutPolicy(ctx, rec, expect)
	if u.short {
		return ok, &scheduler.Error{Kind: scheduler.KindUnconfirmed, Message: "too few replicas"}
	}
	return ok, err
}

// TestPoliciesAreAppliedUntilTheyAreConfirmed wants the start to go on trying, also
// when what is found is what it has written itself.
func TestPoliciesAreAppliedUntilTheyAreConfirmed(t *testing.T) {
	t.Parallel()
	store := &unconfirming{Store: memstore.New(memstore.Config{}), short: true}
	sched, err := scheduler.New(store, scheduler.Config{})
	if err != nil {
		t.Fatal(err)
	}
	policies, err := parsePolicies("one.yaml", []byte(onePolicy), make(map[string]string))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	for range 3 {
		if err := applyPolicies(t.Context(), log, sched, policies); err == nil || !isAway(err) {
			t.Fatalf("not confirmed: %v", err)
		}
	}
	store.short = false
	if err := applyPolicies(t.Context(), log, sched, policies); err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, sched *scheduler.Scheduler, file string) string {
	t.Helper()
	policies, err := parsePolicies("one.yaml", []byte(file), make(map[string]string))
	if err != nil {
		t.Fatal(err)
	}
	what, err := applyPolicy(t.Context(), sched, policies[0])
	if err != nil {
		t.Fatal(err)
	}
	return what
}

func TestPoliciesOfAFileStandBesideThoseOfDev(t *testing.T) {
	t.Parallel()
	own := onePolicy + strings.Replace(strings.TrimPrefix(onePolicy, "policies:\n"), "id: one", "id: quick", 1)
	s := startServer(t, "--policies", policyFile(t, own), "--log-level=debug")
	// Those of deploy/policies in the order of its files, but for the one replaced.
	var ids []string
	for _, file := range slices.Sorted(maps.Keys(presetIDs)) {
		ids = append(ids, presetIDs[file]...)
	}
	ids = append(slices.DeleteFunc(ids, func(id string) bool { return id == "quick" }), "one", "quick")
	if want := "Policies: " + strings.Join(ids, ", ") + "\n"; !strings.Contains(s.Greeting, want) {
		t.Errorf("the greeting lacks %q:\n%s", want, s.Greeting)
	}
	// Only then has all been read that it has written.
	s.Signal(syscall.SIGTERM)
	s.Wait()
	if got := strings.Count(s.Stderr(), "outcome=created"); got != len(ids) {
		t.Errorf("%d policies created, want %d:\n%s", got, len(ids), s.Stderr())
	}
}

func TestWrongPolicyFileStopsTheStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"not YAML", "policies: [", []string{"policies.yaml: not YAML"}},
		{"unknown field", onePolicy + "    colour: red\n", []string{`policies.yaml:7: policy "one": colour is no field of Policy`}},
		{"bad duration", strings.Replace(onePolicy, "1s", "soon", 1), []string{`policies.yaml:5: policy "one": fixed.delay is "soon"; allowed: a duration`}},
		{"all that makes it invalid", "policies:\n  - {id: One, max_retries: 1, default_action: HOLD}\n", []string{
			`policy "One": id is "One"`, `policy "One": display_name has 0 characters`, `policy "One": schedule is missing`, `policy "One": default_action is HOLD`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := execute(t, "dev", "--listen=127.0.0.1:0", "--admin-listen=", "--policies="+policyFile(t, c.file))
			wantError(t, err, c.want...)
			if !strings.HasPrefix(err.Error(), "--policies (or RETRYD_POLICIES)") {
				t.Errorf("error %q does not begin with the setting", err)
			}
		})
	}
	_, err := execute(t, "dev", "--policies=nowhere.yaml")
	wantError(t, err, "--policies (or RETRYD_POLICIES): stat nowhere.yaml")
}
