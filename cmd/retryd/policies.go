package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/mistakes"
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
		policies, err := policiesOf(os.DirFS(path), path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting("policies"), err)
		}
		return policies, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting("policies"), err)
	}
	policies, err := parsePolicies(path, data, make(map[string]string))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting("policies"), err)
	}
	return policies, nil
}

// policiesOf returns the policies of all .yaml files of a directory, which is at a path,
// in the order of the files' names, or everything that is wrong with them. No id may stand
// in two of them.
func policiesOf(dir fs.FS, path string) ([]policy.Policy, error) {
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("directory %s holds no file whose name ends in .yaml", path)
	}
	var out []policy.Policy
	var errs []error
	from := make(map[string]string)
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name = filepath.Join(path, name)
		policies, err := parsePolicies(name, data, from)
		errs = append(errs, err)
		out = append(out, policies...)
	}
	if err := mistakes.Join(path, errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// parsePolicies returns the policies of a file, or everything that is wrong with them,
// before there is a store to put them into. It notes in from which file each id is, where
// those of other files may stand.
func parsePolicies(name string, data []byte, from map[string]string) ([]policy.Policy, error) {
	nowMS := time.Now().UnixMilli()
	parsed, err := policyfile.Parse(name, data, func(p *retryv1.Policy) []policy.Violation {
		_, violations := wire.CheckPolicy(p, nowMS)
		return append(violations, policyfile.Elsewhere(p.GetId(), name, from)...)
	})
	var out []policy.Policy
	for _, p := range parsed {
		converted, _ := wire.PolicyFromProto(p) // it was checked
		out = append(out, converted)
	}
	return out, err
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
