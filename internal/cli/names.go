package cli

import (
	"encoding/json"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlOfValue turns what is no message of the API into YAML, with names like those that
// messages have there: task_id, which is taskId in JSON.
func yamlOfValue(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	rename(doc.Content[0], reflect.TypeOf(v))
	return yamlText(&doc)
}

// rename gives the fields of structs their names. Keys of maps are what users have put
// there, and messages that are part of a value have theirs.
func rename(node *yaml.Node, t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		rename(node, t.Elem())
	case reflect.Slice:
		if node.Kind == yaml.SequenceNode {
			for _, item := range node.Content {
				rename(item, t.Elem())
			}
		}
	case reflect.Struct:
		values := make(map[string]*yaml.Node)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			values[key.Value] = node.Content[i+1]
			key.Value = protoName(key.Value)
		}
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if value := values[name]; value != nil {
				rename(value, field.Type)
			}
		}
	}
}

// protoName is the name in a proto of what has a name in JSON.
func protoName(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
