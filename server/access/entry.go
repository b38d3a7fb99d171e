package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/retryd/retryd/internal/mistakes"
)

// allowedSections are the keys of an access file.
const allowedSections = "tokens and bindings, which are lists"

// readSections returns the entries under the keys of an access file, and what is wrong
// around them. It is an error by itself when there is no telling what the entries are.
func readSections(path string, data []byte) (map[string][]*yaml.Node, *mistakes.List, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, fmt.Errorf("%s is empty; allowed: %s", path, allowedSections)
		}
		return nil, nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("%s holds more than one document", path)
	}
	root := doc.Content[0]
	found := mistakes.In(path)
	if root.Kind != yaml.MappingNode {
		found.Add(root.Line, "there is another value than there can be; allowed: %s", allowedSections)
		return nil, nil, found.Err()
	}
	sections := make(map[string][]*yaml.Node)
	lines := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		first, twice := lines[key.Value]
		lines[key.Value] = key.Line
		switch {
		case key.Value != "tokens" && key.Value != "bindings":
			found.Add(key.Line, "%s is not known; allowed: %s", cut(key.Value), allowedSections)
		case twice:
			found.Add(key.Line, "%s stands on line %d already", key.Value, first)
		case value.Kind != yaml.SequenceNode && value.Tag != "!!null":
			found.Add(value.Line, "%s is of another form than it can be; allowed: a list", key.Value)
		default:
			sections[key.Value] = value.Content
			if key.Value == "bindings" && len(value.Content) == 0 {
				found.Add(key.Line, noBinding)
			}
		}
	}
	if lines["bindings"] == 0 {
		found.Add(0, noBinding)
	}
	return sections, found, nil
}

const noBinding = "bindings is empty; without one nobody may do anything"

// read fills a token or a binding, whose keys are told to those who use others, and says
// whether nothing was wrong. It does not show values of another form than they must have:
// somebody may have put a token there.
func (c *fileChecker) read(into any, keys string) bool {
	places := placesOf(c.node)
	for _, key := range places.repeated {
		c.addAt(key.Line, places.keys[placeOf(key)], "is given twice")
	}
	// What stands twice was told. Left to the library, nothing more would be read then.
	err := c.node.Load(into, yaml.WithKnownFields(), yaml.WithUniqueKeys(false))
	all, ok := errors.AsType[*yaml.LoadErrors](err)
	if !ok {
		if err != nil {
			c.add("", "cannot be read: %w", err)
		}
		return err == nil && len(places.repeated) == 0
	}
	for _, e := range all.Errors {
		at := place{e.Mark.Line, e.Mark.Column}
		key, isKey := places.keys[at]
		value, isValue := places.values[at]
		switch {
		case isKey && strings.HasPrefix(e.Message, "field "):
			c.addAt(at.line, key, "is not known; allowed: %s", keysBeside(key, keys))
		case isValue:
			c.addAt(at.line, value, "is of another form than it can be; allowed: %s", formOf(value, keys))
		default:
			// An alias stands for it, or it is a key that is no text.
			c.addAt(at.line, "", "has there what it cannot have; allowed: %s", keys)
		}
	}
	return false
}

// keysBeside are the keys that may stand where one stands that is not known.
func keysBeside(field, keys string) string {
	if strings.HasPrefix(field, "jwt.") {
		return "claim and value"
	}
	return keys
}

// formOf is what the value of a field may be, or that of an entry, which has keys.
func formOf(field, keys string) string {
	switch field {
	case "":
		return keys
	case "expires":
		return "a time such as 2027-01-31T00:00:00Z"
	case "jwt":
		return "claim and value"
	case "roles", "namespaces":
		return "a list"
	default:
		return "text"
	}
}

// place is where a node stands.
type place struct{ line, column int }

func placeOf(node *yaml.Node) place { return place{node.Line, node.Column} }

// places are the paths of what stands in an entry.
type places struct {
	keys, values map[place]string
	// repeated are keys that stood there already.
	repeated []*yaml.Node
}

func placesOf(node *yaml.Node) *places {
	p := &places{keys: make(map[place]string), values: make(map[place]string)}
	p.add(node, "")
	return p
}

// add does not follow aliases: what they stand for is in another place.
func (p *places) add(node *yaml.Node, path string) {
	// A mapping begins where its first key does.
	if _, outer := p.values[placeOf(node)]; !outer {
		p.values[placeOf(node)] = path
	}
	switch node.Kind {
	case yaml.SequenceNode:
		for i, item := range node.Content {
			p.add(item, fmt.Sprintf("%s[%d]", path, i))
		}
	case yaml.MappingNode:
		seen := make(map[string]bool)
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			at := cut(key.Value)
			if path != "" {
				at = path + "." + at
			}
			p.keys[placeOf(key)] = at
			if seen[key.Value] {
				p.repeated = append(p.repeated, key)
			}
			seen[key.Value] = true
			p.add(node.Content[i+1], at)
		}
	}
}
