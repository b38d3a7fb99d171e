package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v4"

	"github.com/retryd/retryd/internal/mistakes"
)

// configEntry is a key of a configuration file and what stands under it.
type configEntry struct {
	key  string
	line int
	node *yaml.Node
	// list says that it is a list of values, and not one.
	list bool
}

// readConfigFile returns the entries of a configuration file in order: one mapping,
// whose keys stand in it once; what is wrong with it besides goes to found. What they mean
// is not looked at.
func readConfigFile(path string, found *mistakes.List) ([]configEntry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseConfigFile(path, data, found)
}

func parseConfigFile(path string, data []byte, found *mistakes.List) ([]configEntry, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			// All of it may be commented out.
			return nil, nil
		}
		return nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s holds more than one YAML document; put all settings into one", path)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: a configuration file has settings, one a line, such as listen: %s", path, root.Line, defaultListen)
	}
	var entries []configEntry
	lines := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if first, twice := lines[key.Value]; twice {
			found.Add(key.Line, "%s stands on line %d already", key.Value, first)
			continue
		}
		lines[key.Value] = key.Line
		entries = append(entries, configEntry{key: key.Value, line: key.Line, node: value, list: value.Kind == yaml.SequenceNode})
	}
	return entries, nil
}

// read returns the entry's value, or those of its list.
func (e *configEntry) read() ([]string, error) {
	nodes := []*yaml.Node{e.node}
	if e.list {
		nodes = e.node.Content
	}
	values := make([]string, 0, len(nodes))
	for _, n := range nodes {
		switch {
		case n.Kind != yaml.ScalarNode && e.list:
			return nil, errors.New("holds more than values: it must be a value, or a list of them")
		case n.Kind != yaml.ScalarNode:
			return nil, errors.New("must be a value, or a list of values")
		case n.Tag == "!!null":
			return nil, errors.New(`has no value: leave the key out, or write "" where empty means something`)
		}
		values = append(values, n.Value)
	}
	return values, nil
}
