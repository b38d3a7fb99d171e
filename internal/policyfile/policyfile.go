// Package policyfile reads policies as people write them: YAML (and so JSON too)
// in the API's words, with its enum values with or without their prefix and its
// durations also as 5m, 1h30m or 30d.
//
//	policies:
//	  - id: webhook
//	    display_name: Webhook delivery
//	    max_retries: 5
//	    exponential: {initial_delay: 30s, multiplier: 2, max_delay: 1h}
//	    default_action: RETRY
//
// and jobs, in the same way, under the key jobs.
//
// It must import nothing of this module but the generated code, what a violation is, and
// the list of mistakes.
package policyfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/mistakes"
	"github.com/retryd/retryd/policy"
)

// Parse returns the policies of a file, in order, or everything that is wrong with them,
// each with the file's name and its line, in the order of the lines. Unknown keys,
// repeated keys and repeated ids are wrong, and what check says of the policies that could
// be read; check is nil where nobody asks what they mean.
func Parse(name string, data []byte, check func(*retryv1.Policy) []policy.Violation) ([]*retryv1.Policy, error) {
	return parse(name, data, "policies", "policy", func() *retryv1.Policy { return new(retryv1.Policy) }, check)
}

// ParseJobs returns the jobs of a file, which stand under the key jobs, as [Parse]
// does policies.
func ParseJobs(name string, data []byte, check func(*retryv1.Job) []policy.Violation) ([]*retryv1.Job, error) {
	return parse(name, data, "jobs", "job", func() *retryv1.Job { return new(retryv1.Job) }, check)
}

type resource interface {
	proto.Message
	GetId() string
}

// parse returns the messages of the list under the key; each is called one.
func parse[R resource](name string, data []byte, key, one string, empty func() R, check func(R) []policy.Violation) ([]R, error) {
	entries, found, err := list(name, data, key, one)
	if err != nil {
		return nil, err
	}
	var out []R
	lines := make(map[string]int)
	for i, node := range entries {
		r := empty()
		e := entry{found: found, called: called(node, one, fmt.Sprintf("%s[%d]", key, i))}
		if id := idOf(node); id != "" {
			if first, twice := lines[id]; twice {
				found.Add(node.Line, "%s %q stands on line %d already", one, cut(id), first)
			} else {
				lines[id] = node.Line
			}
		}
		if !e.read(node, r) {
			continue
		}
		out = append(out, r)
		if check == nil {
			continue
		}
		for _, v := range check(r) {
			found.Add(mistakes.Line(resolve(node), v.Field), "%s: %s %s", e.called, v.Field, v.Description)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// list returns the entries of the list under the key, and what is wrong around it. It is
// an error by itself when there is no telling what the entries are.
func list(name string, data []byte, key, one string) ([]*yaml.Node, *mistakes.List, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, fmt.Errorf("%s: the file is empty: it needs a list under the key %s", name, key)
		}
		return nil, nil, fmt.Errorf("%s: not YAML: %w", name, err)
	}
	root := doc.Content[0]
	found := mistakes.In(name)
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		found.Add(0, "the file holds more than one YAML document; put all %s into one list", key)
		return nil, nil, found.Err()
	}
	if fault := checkAliases(root); fault != nil {
		found.Add(fault.line, "%s", fault.what)
		return nil, nil, found.Err()
	}
	if root.Kind != yaml.MappingNode {
		found.Add(root.Line, "a %s file has one key, %s, and under it a list", one, key)
		return nil, nil, found.Err()
	}
	var entries *yaml.Node
	for i := 0; i < len(root.Content); i += 2 {
		switch k := root.Content[i]; {
		case k.Value != key:
			found.Add(k.Line, "%q is not known; a %s file has one key, %s, and under it a list", k.Value, one, key)
		case entries != nil:
			found.Add(k.Line, "%s is given twice", key)
		default:
			entries = resolve(root.Content[i+1])
		}
	}
	switch {
	case len(root.Content) == 0:
		found.Add(root.Line, "%s is missing, and under it a list", key)
	case entries == nil:
		// What stands there instead is not known, and told.
	case entries.Kind != yaml.SequenceNode:
		found.Add(entries.Line, "%s is %s; allowed: a list", key, shown(entries))
	default:
		return entries.Content, found, nil
	}
	return nil, nil, found.Err()
}

// called is what mistakes call an entry: by its id, where it has one.
func called(node *yaml.Node, one, position string) string {
	if id := idOf(node); id != "" {
		return fmt.Sprintf("%s %q", one, cut(id))
	}
	return position
}

// idOf is the id of an entry, empty where there is none.
func idOf(node *yaml.Node) string {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i < len(node.Content); i += 2 {
		if id := resolve(node.Content[i+1]); node.Content[i].Value == "id" && id.Kind == yaml.ScalarNode && id.Tag != "!!null" {
			return id.Value
		}
	}
	return ""
}

// entry reads one message of a file.
type entry struct {
	found *mistakes.List
	// called is what mistakes call it.
	called string
	// wrong says that something is.
	wrong bool
}

// read fills a message, and says whether nothing was wrong.
func (e *entry) read(node *yaml.Node, into proto.Message) bool {
	value := e.message(node, "", into.ProtoReflect().Descriptor())
	if e.wrong {
		return false
	}
	data, err := json.Marshal(value)
	if err == nil {
		err = protojson.Unmarshal(data, into)
	}
	if err != nil {
		e.add(node, "", "cannot be read: %w", err)
	}
	return !e.wrong
}

// add takes a mistake in a field, or in the entry as a whole.
func (e *entry) add(node *yaml.Node, path, format string, args ...any) {
	e.wrong = true
	what := e.called
	if path != "" {
		what += ": " + path
	}
	e.found.Add(node.Line, "%s %w", what, fmt.Errorf(format, args...))
}

// allows takes a value that is none of those that a field may have.
func (e *entry) allows(node *yaml.Node, path, allowed string) {
	e.add(node, path, "is %s; allowed: %s", shown(node), allowed)
}

// maxShown is how many bytes of a value are shown.
const maxShown = 100

// shown tells what stands at a node.
func shown(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "key: value pairs"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Tag == "!!null":
		return "empty"
	case len(node.Value) > maxShown:
		return fmt.Sprintf("%q and more", node.Value[:maxShown])
	default:
		return fmt.Sprintf("%q", node.Value)
	}
}
