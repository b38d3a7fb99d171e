package docstest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/retryd/retryd/internal/docstest"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

var (
	inlineCode = regexp.MustCompile("`[^`\n]+`")
	// Words that can be nothing but names of the API.
	capitals = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)+$`)
	snake    = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)
	camel    = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]+)+$`)
)

// vocabulary are the names that the documentation may use.
type vocabulary struct {
	values, fields, types map[string]bool
}

func newVocabulary(t *testing.T) vocabulary {
	t.Helper()
	v := vocabulary{
		values: set("ALREADY_EXISTS", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND",
			"NOT_SERVING", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED",
			// As labels of metrics they have no prefix.
			"DEAD_LETTER", "LEASES_EXPIRED", "RETRY_NOW"),
		// Those that stand in the metadata of errors, in the log and in traces, metrics of health,
		// outcomes of callers, and names of other systems, compilers of protos among them.
		fields: set("attempt_in_turn", "error_id", "delay_ms", "duration_ms", "unlogged_before", "http_status", "lateness_ms", "status_code", "histogram_quantile",
			"retry_rate", "dead_letter_rate", "average_attempts_to_success", "tasks_over_24h", "second_attempt_success_rate", "depth_growth",
			"no_credential", "bad_credential", "unknown_token", "invalid_token", "no_role", "no_namespace", "no_rule",
			"retryd_access_denials_total", "no_answer", "network_error", "max_delay_seconds", "retry_on_timeout", "retry_on_connection_error",
			"reports_per_second", "pending_tasks", "pending_bytes", "leases_out",
			"round_robin", "skip_verify", "grpc_tools", "grpc_tools_ruby_protoc", "grpc_php_plugin", "java_multiple_files"),
		types: set("ProtoRoot", "QuotaFailure", "BadRequest", "ErrorInfo", "RetryInfo", "ServerReflection", "ServerReflectionInfo", "WithToken"),
	}
	for reason := range reasons(t) {
		v.values[reason] = true
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("retry.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			v.types[string(s.Name())] = true
			for j := range s.Methods().Len() {
				v.types[string(s.Methods().Get(j).Name())] = true
			}
		}
		v.addEnums(f.Enums())
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			v.types[string(m.Name())] = true
			v.addEnums(m.Enums())
			for j := range m.Fields().Len() {
				v.fields[string(m.Fields().Get(j).Name())] = true
			}
		}
		return true
	})
	return v
}

func (v vocabulary) addEnums(enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		v.types[string(e.Name())] = true
		for j := range e.Values().Len() {
			v.values[string(e.Values().Get(j).Name())] = true
		}
	}
}

func set(words ...string) map[string]bool {
	out := make(map[string]bool)
	for _, w := range words {
		out[w] = true
	}
	return out
}

// What looks like a name of the API is one.
func TestNamesExist(t *testing.T) {
	t.Parallel()
	v := newVocabulary(t)
	for _, f := range files(t) {
		checked := 0
		for i, line := range strings.Split(f.prose, "\n") {
			for _, code := range inlineCode.FindAllString(line, -1) {
				for _, word := range strings.FieldsFunc(strings.Trim(code, "`"), func(r rune) bool { return strings.ContainsRune(" .:,=/[]{}\"", r) }) {
					var known bool
					switch {
					case strings.HasPrefix(word, "RETRYD_") || strings.HasPrefix(word, "OTEL_") || strings.HasPrefix(word, "Example"):
						continue
					case strings.HasPrefix(word, "retryd_") || strings.HasPrefix(word, "grpc_"):
						// Metrics and their labels, which package telemetry holds to what is served.
						continue
					case capitals.MatchString(word):
						known = v.values[word]
					case snake.MatchString(word):
						known = v.fields[word]
					case camel.MatchString(word):
						known = v.types[word]
					default:
						continue
					}
					checked++
					if !known {
						t.Errorf("%s:%d: %s is no name of the API", f.name, i+1, word)
					}
				}
			}
		}
		if f.name != "docs/running.md" && checked == 0 {
			t.Errorf("%s: no names were found to check", f.name)
		}
	}
}

// Every field of a policy is told of.
func TestPoliciesTellEveryField(t *testing.T) {
	t.Parallel()
	page := named(t, "docs/policies.md")
	for _, name := range []protoreflect.Name{"Policy", "FixedDelay", "ExponentialDelay", "DelayList", "DateList", "Jitter", "Rule", "Match", "RetryAfter", "PauseWindow"} {
		m := retryv1.File_retry_v1_policy_proto.Messages().ByName(name)
		for i := range m.Fields().Len() {
			field := string(m.Fields().Get(i).Name())
			if !strings.Contains(page.prose, "`"+field+"`") && !strings.Contains(page.prose, "`"+field+":") {
				t.Errorf("policies.md does not tell of %s.%s", name, field)
			}
		}
	}
	for _, e := range []protoreflect.EnumDescriptor{
		retryv1.Reason(0).Descriptor(), retryv1.Action(0).Descriptor(), retryv1.RetryAfter_Mode(0).Descriptor(), retryv1.ConnectionFailure_Kind(0).Descriptor(),
	} {
		for i := 1; i < e.Values().Len(); i++ {
			if value := string(e.Values().Get(i).Name()); !strings.Contains(page.prose, "`"+value+"`") {
				t.Errorf("policies.md does not tell of %s", value)
			}
		}
	}
}

// Every setting is told of, with its variable and its default.
func TestRunningTellsEverySetting(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	var help string
	for _, command := range []string{"dev", "serve"} {
		p := docstest.StartProcess(t, t.TempDir(), nil, docstest.Build(t, root), command, "--help")
		p.Wait()
		help += p.Stdout()
	}
	told := make(map[string][]string)
	for line := range strings.Lines(named(t, "docs/running.md").prose) {
		if cells := cellsOf(line); len(cells) == 4 && strings.HasPrefix(cells[0], "`--") {
			told[strings.Trim(cells[0], "`")] = cells
		}
	}
	flagLine := regexp.MustCompile(`(?m)^\s+(?:-h, )?(--[a-z-]+) .*$`)
	flagDefault := regexp.MustCompile(`\(default "?([^")]+)"?\)`)
	checked := map[string]bool{"--help": true}
	for _, m := range flagLine.FindAllStringSubmatch(help, -1) {
		name := m[1]
		if checked[name] {
			continue
		}
		checked[name] = true
		cells, ok := told[name]
		if !ok {
			t.Errorf("running.md does not tell of %s", name)
			continue
		}
		delete(told, name)
		variable := "`RETRYD_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(name, "--"), "-", "_")) + "`"
		if cells[1] != variable {
			t.Errorf("the variable of %s is %s, running.md says %s", name, variable, cells[1])
		}
		want := "none"
		if d := flagDefault.FindStringSubmatch(m[0]); d != nil {
			// Go prints 10m0s where people write 10m.
			want = "`" + strings.ReplaceAll(d[1], "m0s", "m") + "`"
		}
		if cells[2] != want {
			t.Errorf("the default of %s is %s, running.md says %s", name, want, cells[2])
		}
	}
	for name := range told {
		t.Errorf("running.md tells of %s, which neither dev nor serve has", name)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// Links lead to files that are there, and to headings in them.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	root := docstest.Root(t)
	all := files(t)
	for _, f := range all {
		for _, m := range link.FindAllStringSubmatch(f.prose, -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := f.name
			if path != "" {
				target = filepath.Join(filepath.Dir(f.name), path)
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s: the link %s leads nowhere", f.name, m[1])
				}
			}
			if anchor == "" {
				continue
			}
			i := slices.IndexFunc(all, func(f file) bool { return f.name == target })
			if i < 0 || !slices.Contains(anchors(all[i].prose), anchor) {
				t.Errorf("%s: the link %s leads to no heading", f.name, m[1])
			}
		}
	}
}

// anchors are those that GitHub gives to headings.
func anchors(prose string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		anchor := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		out = append(out, strings.Map(func(r rune) rune {
			if r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, anchor))
	}
	return out
}
