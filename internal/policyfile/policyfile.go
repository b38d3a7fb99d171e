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

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Parse returns the policies of a file, in order. It refuses unknown keys,
// repeated keys and repeated ids, and names the line of whatever is wrong; what
// the policies mean is not looked at.
func Parse(data []byte) ([]*retryv1.Policy, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty: it needs a list under the key policies")
		}
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document; put all policies into one list")
	}
	root := doc.Content[0]
	if err := checkAliases(root); err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "policies" {
		return nil, at(root, "a policy file has one key, policies, and under it a list")
	}
	list := root.Content[1]
	if list.Kind != yaml.SequenceNode {
		return nil, at(list, "policies is a list")
	}
	var out []*retryv1.Policy
	lines := make(map[string]int)
	for _, node := range list.Content {
		p, err := parsePolicy(node)
		if err != nil {
			return nil, err
		}
		if first, twice := lines[p.GetId()]; twice {
			return nil, at(node, "policy %q stands on line %d already", p.GetId(), first)
		}
		lines[p.GetId()] = node.Line
		out = append(out, p)
	}
	return out, nil
}

func parsePolicy(node *yaml.Node) (*retryv1.Policy, error) {
	p := new(retryv1.Policy)
	value, err := message(node, p.ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, at(node, "cannot be told as JSON: %w", err)
	}
	if err := protojson.Unmarshal(data, p); err != nil {
		return nil, at(node, "not a policy: %w", err)
	}
	return p, nil
}

// at is an error that names a node's line.
func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", node.Line, fmt.Errorf(format, args...))
}
