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
// It must import nothing of this module but the generated code.
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
)

// Parse returns the policies of a file, in order. It refuses unknown keys,
// repeated keys and repeated ids, and names the line of whatever is wrong; what
// the policies mean is not looked at.
func Parse(data []byte) ([]*retryv1.Policy, error) {
	return parse(data, "policies", "policy", func() *retryv1.Policy { return new(retryv1.Policy) })
}

// ParseJobs returns the jobs of a file, which stand under the key jobs, as [Parse]
// does policies.
func ParseJobs(data []byte) ([]*retryv1.Job, error) {
	return parse(data, "jobs", "job", func() *retryv1.Job { return new(retryv1.Job) })
}

type resource interface {
	proto.Message
	GetId() string
}

// parse returns the messages of the list under the key; each is called one.
func parse[R resource](data []byte, key, one string, empty func() R) ([]R, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the file is empty: it needs a list under the key %s", key)
		}
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the file holds more than one YAML document; put all %s into one list", key)
	}
	root := doc.Content[0]
	if err := checkAliases(root); err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != key {
		return nil, at(root, "a %s file has one key, %s, and under it a list", one, key)
	}
	list := root.Content[1]
	if list.Kind != yaml.SequenceNode {
		return nil, at(list, "%s is a list", key)
	}
	var out []R
	lines := make(map[string]int)
	for _, node := range list.Content {
		r := empty()
		if err := read(node, one, r); err != nil {
			return nil, err
		}
		if first, twice := lines[r.GetId()]; twice {
			return nil, at(node, "%s %q stands on line %d already", one, r.GetId(), first)
		}
		lines[r.GetId()] = node.Line
		out = append(out, r)
	}
	return out, nil
}

func read(node *yaml.Node, one string, into proto.Message) error {
	value, err := message(node, into.ProtoReflect().Descriptor())
	if err != nil {
		return err
	}
	data, err := json.Marshal(value)
	if err != nil {
		return at(node, "cannot be told as JSON: %w", err)
	}
	if err := protojson.Unmarshal(data, into); err != nil {
		return at(node, "not a %s: %w", one, err)
	}
	return nil
}

// at is an error that names a node's line.
func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", node.Line, fmt.Errorf(format, args...))
}
