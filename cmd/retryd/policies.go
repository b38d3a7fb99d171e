package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// defaultNamespace is the one of requests that name none.
const defaultNamespace = "default"

// readPolicies returns the policies of a file, or of all files of a directory.
func readPolicies(path string) ([]policy.Policy, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting("policies"), err)
	}
	if info.IsDir() {
		policies, err := policiesOf(os.DirFS(path))
		if err != nil {
			return nil, fmt.Errorf("%s: directory %s: %w", setting("policies"), path, err)
		}
		return policies, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting("policies"), err)
	}
	policies, err := parsePolicies(data)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", setting("policies"), path, err)
	}
	return policies, nil
}

// policiesOf returns the policies of all .yaml files of a directory, in the order
// of the files' names. No id may stand in two of them.
func policiesOf(dir fs.FS) ([]policy.Policy, error) {
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("it holds no file whose name ends in .yaml")
	}
	var out []policy.Policy
	var errs []error
	from := make(map[string]string)
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		policies, err := parsePolicies(data)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, p := range policies {
			if first, twice := from[p.ID]; twice {
				errs = append(errs, fmt.Errorf("%s: policy %q stands in %s already", name, p.ID, first))
			}
			from[p.ID] = name
		}
		out = append(out, policies...)
	}
	return out, errors.Join(errs...)
}

func parsePolicies(data []byte) ([]policy.Policy, error) {
	parsed, err := policyfile.Parse(data)
	if err != nil {
		return nil, err
	}
	var out []policy.Policy
	var errs []error
	for _, p := range parsed {
		converted, violations := wire.PolicyFromProto(p)
		errs = append(errs, violationsOf(p, violations)...)
		out = append(out, converted)
	}
	return out, errors.Join(errs...)
}

func violationsOf(p *retryv1.Policy, violations []policy.Violation) []error {
	var errs []error
	for _, v := range violations {
		errs = append(errs, fmt.Errorf("policy %q: %s %s", p.GetId(), v.Field, v.Description))
	}
	return errs
}

// applyPolicies makes the policies of the default namespace what the list says:
// those that are not there are created, those that differ are updated, deleted
// ones are brought back. All others stay.
func applyPolicies(ctx context.Context, log *slog.Logger, sched *scheduler.Scheduler, policies []policy.Policy) error {
	var errs []error
	for _, p := range policies {
		what, err := applyPolicy(ctx, sched, p)
		if err != nil {
			errs = append(errs, applyError(p.ID, err))
			continue
		}
		log.DebugContext(ctx, "policy applied", "policy", p.ID, "outcome", what)
	}
	return errors.Join(errs...)
}

func applyPolicy(ctx context.Context, sched *scheduler.Scheduler, p policy.Policy) (string, error) {
	// One that is not deleted stays as it is, and is confirmed with that: what is found
	// may be what this server has written before, and was told that it is not.
	now, err := sched.UndeletePolicy(ctx, defaultNamespace, p.ID)
	if isKind(err, scheduler.KindPolicyNotFound) {
		_, err = sched.CreatePolicy(ctx, defaultNamespace, p)
		if isKind(err, scheduler.KindPolicyExists) {
			// Another replica was faster.
			return applyPolicy(ctx, sched, p)
		}
		return "created", err
	}
	if err != nil {
		return "", err
	}
	if reflect.DeepEqual(now.Policy, p.Normalize()) {
		return "unchanged", nil
	}
	_, err = sched.UpdatePolicy(ctx, defaultNamespace, p, "")
	return "updated", err
}

func isKind(err error, kind scheduler.Kind) bool {
	var e *scheduler.Error
	return errors.As(err, &e) && e.Kind == kind
}

// isAway says whether trying again later may help.
func isAway(err error) bool {
	return isKind(err, scheduler.KindUnavailable) || isKind(err, scheduler.KindUnconfirmed) || isKind(err, scheduler.KindFull) ||
		errors.Is(err, context.DeadlineExceeded)
}

// cause is what an operator should know of an error, beyond what clients are
// told.
func cause(err error) error {
	var e *scheduler.Error
	if errors.As(err, &e) && e.Cause != nil {
		return e.Cause
	}
	return err
}

// applyError lists every violation of a policy, on a line each.
func applyError(id string, err error) error {
	var e *scheduler.Error
	if !errors.As(err, &e) || len(e.Violations) == 0 {
		return fmt.Errorf("policy %q: %w", id, err)
	}
	var errs []error
	for _, v := range e.Violations {
		errs = append(errs, fmt.Errorf("policy %q: %s %s", id, strings.TrimPrefix(v.Field, "policy."), v.Description))
	}
	return errors.Join(errs...)
}
