package policyfile

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// maxNodes is how many nodes a file may have, those that its aliases stand for
// counted each time: a few lines can stand for more than any memory holds.
const maxNodes = 1_000_000

// expansion counts what a document's nodes come to once every alias is replaced
// by what it stands for.
type expansion struct {
	// sizes are the counts of nodes that are done; 0 marks one under way.
	sizes map[*yaml.Node]int
}

// aliasFault is an alias that cannot be followed.
type aliasFault struct {
	line int
	what string
}

// checkAliases refuses aliases that stand for themselves, or for too much.
func checkAliases(root *yaml.Node) *aliasFault {
	e := expansion{sizes: make(map[*yaml.Node]int)}
	_, fault := e.size(root)
	return fault
}

func (e *expansion) size(node *yaml.Node) (int, *aliasFault) {
	if node.Kind == yaml.AliasNode {
		size, begun := e.sizes[node.Alias]
		if begun && size == 0 {
			return 0, &aliasFault{node.Line, fmt.Sprintf("the alias *%s is part of what it stands for", node.Value)}
		}
		return e.size(node.Alias)
	}
	if size := e.sizes[node]; size > 0 {
		return size, nil
	}
	e.sizes[node] = 0
	total := 1
	for _, child := range node.Content {
		n, fault := e.size(child)
		if fault != nil {
			return 0, fault
		}
		if total += n; total > maxNodes {
			return 0, &aliasFault{node.Line, fmt.Sprintf("its aliases stand for more than %d nodes", maxNodes)}
		}
	}
	e.sizes[node] = total
	return total, nil
}
