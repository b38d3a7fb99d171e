package mistakes

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Line is where in a node a field stands that is named as rules[2].match.codes. Of one that
// does not stand there, it is where the part of its path begins that does.
func Line(node *yaml.Node, path string) int {
	line := node.Line
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		key, value := child(node, part)
		if value == nil {
			break
		}
		line, node = key.Line, value
	}
	return line
}

// child is what a node has under a key or an index, and the node that names it.
func child(node *yaml.Node, part string) (key, value *yaml.Node) {
	switch node.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if sameName(node.Content[i].Value, part) {
				return node.Content[i], node.Content[i+1]
			}
		}
	}
	return nil, nil
}

// sameName takes maxRetries for max_retries: files may have either.
func sameName(a, b string) bool {
	plain := func(s string) string { return strings.ReplaceAll(s, "_", "") }
	return strings.EqualFold(plain(a), plain(b))
}
