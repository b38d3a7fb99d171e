package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// clientFile reads the client's file: settings by the names of their flags, and
// named contexts that have settings of their own.
//
//	context: staging            # which one to use unless --context says another
//	timeout: 10s                # for all of them
//	contexts:
//	  staging: {address: "retryd.staging:7600", namespace: shop}
//	  prod: {address: "retryd.prod:7600", token-file: /run/secrets/retryd}
func (e *Env) clientFile(cmd *cobra.Command) (map[string]value, error) {
	path, from := e.flagOrVariable(cmd, "client-config")
	context, contextFrom := e.flagOrVariable(cmd, "context")
	asked := path != ""
	if !asked {
		path = e.defaultClientFile()
	}
	data, err := os.ReadFile(path)
	switch {
	case asked && err != nil:
		return nil, fmt.Errorf("%s is %q: %w", from, path, plainPathError(err))
	case errors.Is(err, fs.ErrNotExist), path == "":
		if context != "" {
			return nil, fmt.Errorf("%s is %q: there is no client's file that has contexts (--client-config)", contextFrom, context)
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the client's file: %w", err)
	}
	out, err := readClientFile(data, path, context, contextFrom)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// defaultClientFile is where the client's file is looked for, or empty where there
// is no such place.
func (e *Env) defaultClientFile() string {
	if dir, ok := e.Lookup("XDG_CONFIG_HOME"); ok && dir != "" {
		return filepath.Join(dir, "retryd", "client.yaml")
	}
	if home, ok := e.Lookup("HOME"); ok && home != "" {
		return filepath.Join(home, ".config", "retryd", "client.yaml")
	}
	return ""
}

func readClientFile(data []byte, path, context, contextFrom string) (map[string]value, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	r := clientFileReader{path: path, contexts: make(map[string]map[string]value)}
	var out map[string]value
	if len(doc.Content) > 0 {
		out = r.settings(doc.Content[0], rankFile)
	}
	if contextFrom == "" {
		context, contextFrom = r.context, "context"
	}
	if context != "" {
		chosen, ok := r.contexts[context]
		if !ok {
			var names []string
			for name := range r.contexts {
				names = append(names, name)
			}
			slices.Sort(names)
			r.wrong(fmt.Errorf("%s is %q: the file has the contexts %q", contextFrom, context, names))
		}
		maps.Copy(out, chosen)
	}
	return out, errors.Join(r.errs...)
}

type clientFileReader struct {
	path     string
	context  string
	contexts map[string]map[string]value
	errs     []error
}

func (r *clientFileReader) wrong(err error) { r.errs = append(r.errs, err) }

func (r *clientFileReader) at(n *yaml.Node, format string, args ...any) {
	r.wrong(fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...)))
}

// settings reads those of the file itself, or of one context.
func (r *clientFileReader) settings(n *yaml.Node, rank int) map[string]value {
	out := make(map[string]value)
	if n.Kind != yaml.MappingNode {
		r.at(n, "settings are written as name: value pairs")
		return out
	}
	known := settings
	if rank == rankFile {
		known = append([]string{"context", "contexts"}, settings...)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			r.at(key, "%q is no setting; there are %s", key.Value, strings.Join(known, ", "))
		case seen[key.Value]:
			r.at(key, "%s is given twice", key.Value)
		case key.Value == "contexts":
			r.readContexts(v)
		case v.Kind != yaml.ScalarNode || v.Tag == "!!null":
			r.at(v, "%s takes a single value", key.Value)
		case key.Value == "context":
			r.context = v.Value
		default:
			out[key.Value] = value{v.Value, key.Value + " in " + r.path, rank}
		}
		seen[key.Value] = true
	}
	return out
}

func (r *clientFileReader) readContexts(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.at(n, "contexts are written as name: settings")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if _, twice := r.contexts[name]; twice {
			r.at(n.Content[i], "the context %q is given twice", name)
		}
		r.contexts[name] = r.settings(n.Content[i+1], rankContext)
	}
}
