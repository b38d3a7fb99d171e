package policyfile

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message turns a node into the JSON form of a message.
func message(node *yaml.Node, desc protoreflect.MessageDescriptor) (any, error) {
	node = resolve(node)
	switch desc.FullName() {
	case "google.protobuf.Duration":
		return duration(node)
	case "google.protobuf.Timestamp":
		return text(node, "a time such as 2026-01-31T12:00:00Z")
	}
	if node.Kind != yaml.MappingNode {
		return nil, at(node, "%s is written as key: value pairs", desc.Name())
	}
	out := make(map[string]any)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field := desc.Fields().ByName(protoreflect.Name(key.Value))
		if field == nil {
			field = desc.Fields().ByJSONName(key.Value)
		}
		if field == nil {
			return nil, at(key, "%s has no field %q; it has %s", desc.Name(), key.Value, fieldNames(desc))
		}
		if _, twice := out[field.JSONName()]; twice {
			return nil, at(key, "%s is given twice", key.Value)
		}
		v, err := fieldValue(value, field)
		if err != nil {
			return nil, err
		}
		out[field.JSONName()] = v
	}
	return out, nil
}

func fieldValue(node *yaml.Node, field protoreflect.FieldDescriptor) (any, error) {
	node = resolve(node)
	if field.IsMap() {
		return mapping(node, field)
	}
	if !field.IsList() {
		return single(node, field)
	}
	if node.Kind != yaml.SequenceNode {
		return nil, at(node, "%s is a list", field.Name())
	}
	out := make([]any, 0, len(node.Content))
	for _, item := range node.Content {
		v, err := single(resolve(item), field)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// mapping returns a map, whose keys are text.
func mapping(node *yaml.Node, field protoreflect.FieldDescriptor) (any, error) {
	if node.Kind != yaml.MappingNode {
		return nil, at(node, "%s is written as key: value pairs", field.Name())
	}
	out := make(map[string]any)
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if _, twice := out[key.Value]; twice {
			return nil, at(key, "%s is given twice", key.Value)
		}
		v, err := single(resolve(node.Content[i+1]), field.MapValue())
		if err != nil {
			return nil, err
		}
		out[key.Value] = v
	}
	return out, nil
}

func single(node *yaml.Node, field protoreflect.FieldDescriptor) (any, error) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return message(node, field.Message())
	case protoreflect.EnumKind:
		return enum(node, field.Enum())
	case protoreflect.StringKind:
		// A status is written 429 and a code 007: taken as they stand.
		return text(node, "text")
	}
	if node.Kind != yaml.ScalarNode {
		return nil, at(node, "%s takes a single value", field.Name())
	}
	var v any
	if err := node.Decode(&v); err != nil {
		return nil, at(node, "%s: %w", field.Name(), err)
	}
	return v, nil
}

func text(node *yaml.Node, what string) (string, error) {
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		return "", at(node, "%s is wanted here", what)
	}
	return node.Value, nil
}

// enum returns a value's full name, which may be written without its prefix.
func enum(node *yaml.Node, desc protoreflect.EnumDescriptor) (string, error) {
	given, err := text(node, "a name")
	if err != nil {
		return "", err
	}
	prefix := strings.TrimSuffix(string(desc.Values().ByNumber(0).Name()), "UNSPECIFIED")
	var names []string
	for i := range desc.Values().Len() {
		name := string(desc.Values().Get(i).Name())
		short := strings.TrimPrefix(name, prefix)
		if given == name || given == short {
			return name, nil
		}
		if i > 0 {
			names = append(names, short)
		}
	}
	return "", at(node, "%q is none of %s", given, strings.Join(names, ", "))
}

// duration returns the JSON form of a duration that is written as 30d, or in
// Go's way: 90s, 1h30m, 250ms.
func duration(node *yaml.Node) (string, error) {
	given, err := text(node, "a duration such as 30s, 5m, 1h30m or 30d")
	if err != nil {
		return "", err
	}
	if number, ok := strings.CutSuffix(given, "d"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return strconv.FormatUint(n*86_400, 10) + "s", nil
		}
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		if _, numErr := strconv.ParseFloat(strings.TrimSuffix(given, "s"), 64); numErr == nil && strings.HasSuffix(given, "s") {
			return given, nil
		}
		return "", at(node, "%q is no duration; write it as 30s, 5m, 1h30m or 30d", given)
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s", nil
}

// resolve follows an alias to what it stands for.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func fieldNames(desc protoreflect.MessageDescriptor) string {
	var names []string
	for i := range desc.Fields().Len() {
		names = append(names, string(desc.Fields().Get(i).Name()))
	}
	return strings.Join(names, ", ")
}
