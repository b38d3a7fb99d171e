package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/retryd/retryd/internal/mistakes"
	"github.com/retryd/retryd/scheduler"
)

// unlimited is what a quota file says of what is to have no limit.
const unlimited = "unlimited"

// quotasInterval is how often a quota file is looked at for changes.
const quotasInterval = 2 * time.Second

// readQuotas returns the quotas of a file, none without one, and the text that they come
// from.
func readQuotas(path string) (scheduler.Quotas, []byte, error) {
	if path == "" {
		return scheduler.Quotas{}, nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return scheduler.Quotas{}, nil, fmt.Errorf("%s: %w", setting("quotas"), err)
	}
	quotas, err := parseQuotas(path, data)
	if err != nil {
		return scheduler.Quotas{}, data, fmt.Errorf("%s: %w", setting("quotas"), err)
	}
	return quotas, data, nil
}

// parseQuotas reads a quota file: the quota of every namespace under default, and those of
// some under namespaces, which have the default's limits where they say nothing else. It
// returns everything that is wrong.
func parseQuotas(path string, data []byte) (scheduler.Quotas, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return scheduler.Quotas{}, nil
		}
		return scheduler.Quotas{}, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return scheduler.Quotas{}, fmt.Errorf("%s holds more than one YAML document; put all quotas into one", path)
	}
	p := quotaParser{mistakes.In(path)}
	out := scheduler.Quotas{Namespaces: make(map[string]scheduler.Quota)}
	var namespaces *yaml.Node
	p.mapping(doc.Content[0], "the file", "default and namespaces", func(key, value *yaml.Node) {
		switch key.Value {
		case "default":
			p.quota(value, "default", &out.Default)
		case "namespaces":
			namespaces = value
		default:
			p.wrong(key, "%q is not known: there are default and namespaces", key.Value)
		}
	})
	if namespaces != nil {
		p.mapping(namespaces, "namespaces", "names of namespaces", func(key, value *yaml.Node) {
			if !namespaceName.MatchString(key.Value) {
				p.wrong(key, "%q cannot be a namespace: it must be 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'", key.Value)
			}
			quota := out.Default
			p.quota(value, "namespaces."+key.Value, &quota)
			out.Namespaces[key.Value] = quota
		})
	}
	return out, p.found.Err()
}

// holdsNothing says whether a quota file says nothing at all, not even that there are no
// limits.
func holdsNothing(text []byte) bool {
	var content any
	return yaml.Unmarshal(text, &content) == nil && content == nil
}

var namespaceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// quotaParser gathers what is wrong with a file.
type quotaParser struct{ found *mistakes.List }

func (p *quotaParser) wrong(at *yaml.Node, format string, args ...any) {
	p.found.Add(at.Line, format, args...)
}

// mapping hands the keys of a mapping to each, which stand in it once. One that is empty
// has none.
func (p *quotaParser) mapping(node *yaml.Node, what, holds string, each func(key, value *yaml.Node)) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return
	}
	if node.Kind != yaml.MappingNode {
		p.wrong(node, "%s must hold %s", what, holds)
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if first, twice := lines[key.Value]; twice {
			p.wrong(key, "%s has %s on line %d already", what, key.Value, first)
			continue
		}
		lines[key.Value] = key.Line
		each(key, value)
	}
}

// quota reads limits into to.
func (p *quotaParser) quota(node *yaml.Node, what string, to *scheduler.Quota) {
	p.mapping(node, what, "limits, such as pending_tasks: 100000", func(key, value *yaml.Node) {
		kind := quotaKind(key.Value)
		if kind == scheduler.NumQuotas {
			p.wrong(key, "%s has no limit %q: there are %s", what, key.Value, quotaKinds())
			return
		}
		if value.Value == unlimited {
			to[kind] = 0
			return
		}
		n, err := strconv.ParseInt(value.Value, 10, 64)
		if value.Kind != yaml.ScalarNode || err != nil || n < 1 || n > scheduler.MaxQuota {
			p.wrong(value, "%s.%s is %q: it must be a whole number from 1 to %d, or %s", what, key.Value, value.Value, scheduler.MaxQuota, unlimited)
			return
		}
		to[kind] = n
	})
}

// quotaKind is the kind of that name, NumQuotas where there is none.
func quotaKind(name string) scheduler.QuotaKind {
	for kind := range scheduler.NumQuotas {
		if kind.String() == name {
			return kind
		}
	}
	return scheduler.NumQuotas
}

func quotaKinds() string {
	var names []string
	for kind := range scheduler.NumQuotas {
		names = append(names, kind.String())
	}
	return strings.Join(names, ", ")
}

// quotaFile holds a scheduler to a quota file as it changes.
type quotaFile struct {
	path  string
	log   *slog.Logger
	sched *scheduler.Scheduler
	// text is what was read last, told what could not be and was told.
	text []byte
	told string
}

// follow looks at the file until ctx ends. While it is broken the quotas stay what they
// are.
func (f *quotaFile) follow(ctx context.Context) {
	for pause(ctx, quotasInterval) {
		f.look(ctx)
	}
}

// look takes over what the file says, if it has changed. One that is emptied is taken for
// broken: whoever copies a file over it leaves it so for a moment.
func (f *quotaFile) look(ctx context.Context) {
	quotas, text, err := readQuotas(f.path)
	if err == nil && bytes.Equal(text, f.text) {
		if f.told != "" {
			f.log.InfoContext(ctx, "the file of quotas can be used again, and says what it did before", "file", f.path)
		}
		f.told = ""
		return
	}
	if err == nil && holdsNothing(text) && !holdsNothing(f.text) {
		err = fmt.Errorf("%s: %s holds nothing, as if it were half-written; to lift all quotas, let it say default: {}", setting("quotas"), f.path)
	}
	if err == nil {
		err = f.sched.SetQuotas(quotas)
	}
	if err != nil {
		if err.Error() != f.told {
			f.log.ErrorContext(ctx, "the quotas stay as they are: the file cannot be used", "error", err)
		}
		f.told = err.Error()
		return
	}
	f.text, f.told = text, ""
	f.log.InfoContext(ctx, "quotas have changed", "file", f.path, "namespaces", len(quotas.Namespaces))
}
