package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/retryd/retryd/internal/mistakes"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
)

// resource is what of a policy or job is kept by the server and described by files.
type resource interface {
	proto.Message
	GetId() string
	GetEtag() string
	GetRevision() int64
}

// setByServer are the fields of resources that no file has.
var setByServer = []protoreflect.Name{"revision", "etag", "create_time", "update_time", "delete_time"}

// described is a copy without the fields that the server sets.
func described[R resource](r R) R {
	out := proto.CloneOf(r)
	m := out.ProtoReflect()
	for _, name := range setByServer {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	return out
}

// kind is how one kind of resource is applied.
type kind[R resource] struct {
	// one and many name it.
	one, many string
	parse     func(name string, data []byte, check func(R) []policy.Violation) ([]R, error)
	// check says what is wrong with a resource of a file, and normal is one with which
	// nothing is as the server would keep it.
	check  func(R) []policy.Violation
	normal func(R) R
	// get returns a resource, and whether it is deleted but can be restored.
	get     func(ctx context.Context, id string) (now R, deleted bool, err error)
	create  func(ctx context.Context, r R) (R, error)
	restore func(ctx context.Context, id string) (R, error)
	// update is given the etag that the resource must have.
	update func(ctx context.Context, r R, etag string) (R, error)
}

// What apply does to one resource.
const (
	created   = "created"
	updated   = "updated"
	restored  = "restored"
	unchanged = "unchanged"
)

// applied is what became of one resource.
type applied struct {
	ID       string `json:"id"`
	Result   string `json:"result"`
	Revision int64  `json:"revision,omitempty"`
	Diff     string `json:"diff,omitempty"`
	Error    string `json:"error,omitempty"`
}

func addFilesFlag(cmd *cobra.Command, usage string) *[]string {
	return cmd.Flags().StringArrayP("file", "f", nil, usage)
}

// apply makes the resources of files what the files say. Everything is read and
// judged before anything is written.
func (k *kind[R]) apply(ctx context.Context, s *session, files []string) error {
	resources, err := k.read(s, files)
	if err != nil {
		return err
	}
	results := make([]applied, 0, len(resources))
	var failed []error
	for _, r := range resources {
		a, err := k.applyOne(ctx, s.dryRun(), r)
		if err != nil {
			err = fmt.Errorf("%s %q: %w", k.one, r.GetId(), err)
			a.Result, a.Error = "failed", err.Error()
			failed = append(failed, err)
			if len(resources) > 1 {
				if err := s.noteLines(explain(ctx, err)); err != nil {
					return err
				}
			}
		}
		results = append(results, a)
		if err == nil && s.forPeople() {
			if err := s.tellApplied(k.one, a); err != nil {
				return err
			}
		}
		if exitCode(ctx, err) == exitInterrupted {
			break
		}
	}
	if err := s.showValue(results, func() error { return nil }); err != nil {
		return err
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(resources) == 1 || exitCode(ctx, failed[len(failed)-1]) == exitInterrupted:
		return failed[len(failed)-1]
	default:
		return &coded{fmt.Errorf("%d of %d %s failed", len(failed), len(resources), k.many), exitFailure}
	}
}

func (k *kind[R]) applyOne(ctx context.Context, dry bool, r R) (applied, error) {
	a := applied{ID: r.GetId(), Result: created}
	now, deleted, err := k.get(ctx, r.GetId())
	if answer, ok := answerOf(err); ok && answer.code == codes.NotFound {
		return k.finish(a, dry, func() (R, error) { return k.create(ctx, r) })
	}
	if err != nil {
		return a, err
	}
	a.Revision = now.GetRevision()
	if a.Diff, err = diff(described(now), described(k.normal(r))); err != nil {
		return a, err
	}
	// A file that names an etag was made from that state; else what was just read,
	// and what the difference was made from, must still stand.
	etag := r.GetEtag()
	if etag == "" {
		etag = now.GetEtag()
	}
	if deleted {
		a.Result = restored
		return k.finish(a, dry, func() (R, error) {
			back, err := k.restore(ctx, r.GetId())
			if err != nil || a.Diff == "" {
				return back, err
			}
			return k.update(ctx, r, back.GetEtag())
		})
	}
	if a.Diff == "" {
		a.Result = unchanged
		return a, nil
	}
	a.Result = updated
	return k.finish(a, dry, func() (R, error) { return k.update(ctx, r, etag) })
}

// finish does what was found to be done.
func (k *kind[R]) finish(a applied, dry bool, do func() (R, error)) (applied, error) {
	if dry {
		return a, nil
	}
	r, err := do()
	if err == nil {
		a.Revision = r.GetRevision()
	}
	return a, err
}

func (s *session) tellApplied(one string, a applied) error {
	outcome := a.Result
	switch {
	case a.Result == unchanged:
		outcome = fmt.Sprintf("%s, at revision %d", a.Result, a.Revision)
	case s.dryRun():
		outcome = "would be " + a.Result
	case a.Revision > 0:
		outcome = fmt.Sprintf("%s, now at revision %d", a.Result, a.Revision)
	}
	if err := s.say("%s %s: %s", one, a.ID, outcome); err != nil {
		return err
	}
	for line := range strings.Lines(a.Diff) {
		c := text(strings.TrimSuffix(line, "\n"))
		switch line[0] {
		case '+':
			c.style = good
		case '-':
			c.style = bad
		case '@':
			c.style = faint
		}
		if _, err := fmt.Fprintln(s.env.Out, strings.TrimRight("  "+paint(c, s.colours()), " ")); err != nil {
			return err
		}
	}
	return nil
}

// diff tells how two states of a resource differ, line by line of their files; it is
// empty where they do not.
func diff[R resource](now, wanted R) (string, error) {
	if proto.Equal(now, wanted) {
		return "", nil
	}
	before, err := fileText(now)
	if err != nil {
		return "", err
	}
	after, err := fileText(wanted)
	if err != nil {
		return "", err
	}
	unified := udiff.Unified("", "", before, after)
	// The names of the two sides say nothing.
	if _, rest, ok := strings.Cut(unified, "\n@@"); ok {
		unified = "@@" + rest
	}
	return unified, nil
}

// fileText is a message as a file has it.
func fileText(m proto.Message) (string, error) {
	data, err := marshal(m, true)
	if err != nil {
		return "", err
	}
	text, err := yamlOf(data)
	return string(text), err
}

// read reads and judges all files, and tells all that is wrong.
func (k *kind[R]) read(s *session, files []string) ([]R, error) {
	if len(files) == 0 {
		return nil, usagef("say what to apply: -f FILE, a directory, or - for standard input")
	}
	var out []R
	var errs []error
	from := make(map[string]string)
	for _, file := range files {
		texts, err := s.readFiles(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("--file is %q: %w", file, err))
		}
		for _, t := range texts {
			rs, err := k.parse(t.name, t.data, func(r R) []policy.Violation {
				return append(k.check(r), policyfile.Elsewhere(r.GetId(), t.name, from)...)
			})
			errs = append(errs, err)
			out = append(out, rs...)
		}
	}
	if err := mistakes.Join(strings.Join(files, ", "), errs...); err != nil {
		return nil, &usageError{err}
	}
	if len(out) == 0 {
		return nil, usagef("%s: there are no %s in it", strings.Join(files, ", "), k.many)
	}
	return out, nil
}

// namedText is the text of a file.
type namedText struct {
	name string
	data []byte
}

// readFiles reads a file, standard input, or all .yaml files of a directory.
func (s *session) readFiles(path string) ([]namedText, error) {
	if path == "-" {
		data, err := io.ReadAll(s.env.In)
		return []namedText{{"standard input", data}}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, plainPathError(err)
	}
	paths := []string{path}
	if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, errors.New("the directory holds no file whose name ends in .yaml")
		}
		slices.Sort(paths)
	}
	var out []namedText
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, plainPathError(err)
		}
		out = append(out, namedText{p, data})
	}
	return out, nil
}

// plainPathError is an error of a file without the file's name, which stands before
// it already.
func plainPathError(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// showFile prints resources as they are: for YAML in the form of the files that apply
// reads.
func showFile[R resource](s *session, key string, rs []R, people func() error) error {
	if s.format != formatYAML {
		return showAll(s, rs, people)
	}
	list := make([]string, 0, len(rs))
	for _, r := range rs {
		data, err := marshal(described(r), true)
		if err != nil {
			return err
		}
		list = append(list, string(data))
	}
	return s.write(fmt.Appendf(nil, "{%q:[%s]}", key, strings.Join(list, ",")))
}

// asFile is showFile for resources under a key.
func asFile[R resource](key string) func(s *session, rs []R, people func() error) error {
	return func(s *session, rs []R, people func() error) error { return showFile(s, key, rs, people) }
}

// noteLines prints lines beside the result, on standard error.
func (s *session) noteLines(lines string) error {
	_, err := fmt.Fprintln(s.env.Err, lines)
	return err
}
