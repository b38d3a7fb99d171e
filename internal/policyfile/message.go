package policyfile

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// What fields allow.
const (
	pairs     = "key: value pairs"
	durations = "a duration such as 30s, 5m, 1h30m or 30d"
	times     = "a time such as 2026-01-31T12:00:00Z"
)

// message turns a node into the JSON form of a message, whose path is empty for the
// entry itself. What it returns is of use only if nothing was wrong.
func (e *entry) message(node *yaml.Node, path string, desc protoreflect.MessageDescriptor) any {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		e.allows(node, path, pairs)
		return nil
	}
	out := make(map[string]any)
	chosen := make(map[protoreflect.FullName]*yaml.Node)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field := desc.Fields().ByName(protoreflect.Name(key.Value))
		if field == nil {
			field = desc.Fields().ByJSONName(key.Value)
		}
		if field == nil {
			e.add(key, join(path, cut(key.Value)), "is no field of %s; it has %s", desc.Name(), fieldNames(desc.Fields()))
			continue
		}
		at := join(path, string(field.Name()))
		if _, twice := out[field.JSONName()]; twice {
			e.add(key, at, "is given twice")
			continue
		}
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if first := chosen[oneof.FullName()]; first != nil {
				e.add(key, at, "stands beside %s of line %d; allowed: one of %s", first.Value, first.Line, fieldNames(oneof.Fields()))
			} else {
				chosen[oneof.FullName()] = key
			}
		}
		out[field.JSONName()] = e.field(value, at, field)
	}
	return out
}

func (e *entry) field(node *yaml.Node, path string, field protoreflect.FieldDescriptor) any {
	node = resolve(node)
	if field.IsMap() {
		return e.mapping(node, path, field)
	}
	if !field.IsList() {
		return e.single(node, path, field)
	}
	if node.Kind != yaml.SequenceNode {
		e.allows(node, path, "a list")
		return nil
	}
	out := make([]any, 0, len(node.Content))
	for i, item := range node.Content {
		out = append(out, e.single(resolve(item), fmt.Sprintf("%s[%d]", path, i), field))
	}
	return out
}

// mapping returns a map, whose keys are text.
func (e *entry) mapping(node *yaml.Node, path string, field protoreflect.FieldDescriptor) any {
	if node.Kind != yaml.MappingNode {
		e.allows(node, path, pairs)
		return nil
	}
	out := make(map[string]any)
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		at := join(path, cut(key.Value))
		if _, twice := out[key.Value]; twice {
			e.add(key, at, "is given twice")
			continue
		}
		out[key.Value] = e.single(resolve(node.Content[i+1]), at, field.MapValue())
	}
	return out
}

func (e *entry) single(node *yaml.Node, path string, field protoreflect.FieldDescriptor) any {
	switch field.Kind() {
	case protoreflect.MessageKind:
		switch field.Message().FullName() {
		case "google.protobuf.Duration":
			return e.scalar(node, path, field, durations, duration)
		case "google.protobuf.Timestamp":
			return e.scalar(node, path, field, times, text)
		}
		return e.message(node, path, field.Message())
	case protoreflect.EnumKind:
		return e.enum(node, path, field.Enum())
	case protoreflect.StringKind:
		// A status is written 429 and a code 007: taken as they stand.
		if !isText(node) {
			e.allows(node, path, "text")
		}
		return node.Value
	}
	return e.scalar(node, path, field, allowedOf(field.Kind()), decoded)
}

// scalar returns a value that read makes of a node, if the field can have it.
func (e *entry) scalar(node *yaml.Node, path string, field protoreflect.FieldDescriptor, allowed string, read func(*yaml.Node) (any, bool)) any {
	if node.Kind == yaml.ScalarNode {
		if v, ok := read(node); ok && fits(v, field) {
			return v
		}
	}
	e.allows(node, path, allowed)
	return nil
}

// fits says whether a field, or one of the values of a list or map, can be of a value.
func fits(value any, field protoreflect.FieldDescriptor) bool {
	if field.IsList() {
		value = []any{value}
	}
	data, err := json.Marshal(map[string]any{field.JSONName(): value})
	return err == nil && protojson.Unmarshal(data, dynamicpb.NewMessage(field.ContainingMessage())) == nil
}

// allowedOf tells what fields of a kind can have.
func allowedOf(kind protoreflect.Kind) string {
	switch kind {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return fmt.Sprintf("a whole number from %d to %d", math.MinInt32, math.MaxInt32)
	default:
		return "a whole number"
	}
}

// decoded is what YAML takes a value for.
func decoded(node *yaml.Node) (any, bool) {
	var v any
	err := node.Decode(&v)
	return v, err == nil
}

func isText(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag != "!!null" }

func text(node *yaml.Node) (any, bool) { return node.Value, isText(node) }

// enum returns a value's full name, which may be written without its prefix.
func (e *entry) enum(node *yaml.Node, path string, desc protoreflect.EnumDescriptor) string {
	prefix := strings.TrimSuffix(string(desc.Values().ByNumber(0).Name()), "UNSPECIFIED")
	var names []string
	for i := range desc.Values().Len() {
		name := string(desc.Values().Get(i).Name())
		short := strings.TrimPrefix(name, prefix)
		if isText(node) && (node.Value == name || node.Value == short) {
			return name
		}
		if i > 0 {
			names = append(names, short)
		}
	}
	e.allows(node, path, strings.Join(names, ", "))
	return ""
}

// duration returns the JSON form of a duration that is written as 30d, or in
// Go's way: 90s, 1h30m, 250ms.
func duration(node *yaml.Node) (any, bool) {
	given := node.Value
	if number, ok := strings.CutSuffix(given, "d"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return strconv.FormatUint(n*86_400, 10) + "s", true
		}
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		// It may be longer than Go's durations are.
		seconds, ok := strings.CutSuffix(given, "s")
		_, err := strconv.ParseFloat(seconds, 64)
		return given, ok && err == nil
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s", true
}

// resolve follows an alias to what it stands for.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// join is the path of a field in what has a path.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// cut shortens a key that is shown.
func cut(key string) string { return key[:min(len(key), maxShown)] }

// fieldList are the fields of a message, or of a oneof.
type fieldList interface {
	Len() int
	Get(i int) protoreflect.FieldDescriptor
}

func fieldNames(fields fieldList) string {
	var names []string
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	return strings.Join(names, ", ")
}
