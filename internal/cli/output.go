package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The forms in which results are printed.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

// moreFormats is the annotation of a command under which further forms stand that
// it prints, separated by commas.
const moreFormats = "formats"

func addOutputFlag(flags *pflag.FlagSet) {
	addSetting(flags, "output", "o", "form", formatTable, "how to print the result: table, wide (with absolute times), json or yaml")
}

// formatsOf are the forms that a command prints.
func formatsOf(cmd *cobra.Command) []string {
	formats := []string{formatTable, formatWide, formatJSON, formatYAML}
	if more := cmd.Annotations[moreFormats]; more != "" {
		formats = append(formats, strings.Split(more, ",")...)
	}
	return formats
}

func checkFormat(cmd *cobra.Command, v value) error {
	formats := formatsOf(cmd)
	if slices.Contains(formats, v.text) {
		return nil
	}
	return v.wrong("it must be one of %s", strings.Join(formats, ", "))
}

// forPeople says whether the result is to be read by people.
func (s *session) forPeople() bool { return s.format == formatTable || s.format == formatWide }

// show prints one message: for people as the function does, else as it is.
func (s *session) show(m proto.Message, people func() error) error {
	if s.forPeople() {
		return people()
	}
	data, err := marshal(m, s.format == formatYAML)
	if err != nil {
		return err
	}
	return s.write(data)
}

// showAll prints a list of messages: for people as the function does, else as one
// list.
func showAll[M proto.Message](s *session, items []M, people func() error) error {
	if s.forPeople() {
		return people()
	}
	list := make([]json.RawMessage, 0, len(items))
	for _, m := range items {
		data, err := marshal(m, s.format == formatYAML)
		if err != nil {
			return err
		}
		list = append(list, data)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return s.write(data)
}

// marshal writes a message as JSON: with the names of the API's JSON, or of its
// protos, as policy files have them.
func marshal(m proto.Message, protoNames bool) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: protoNames}.Marshal(m)
}

// showValue prints what is no message of the API: for people as the function does,
// else as JSON or YAML. Its JSON names should look like the API's.
func (s *session) showValue(v any, people func() error) error {
	if s.forPeople() {
		return people()
	}
	if s.format == formatYAML {
		text, err := yamlOfValue(v)
		if err == nil {
			_, err = s.env.Out.Write(text)
		}
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(data)
}

// write prints JSON in the form that is asked for.
func (s *session) write(data []byte) error {
	// What protojson writes has spaces by chance.
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	if s.format == formatYAML {
		text, err := yamlOf(b.Bytes())
		if err != nil {
			return err
		}
		b.Reset()
		b.Write(text)
	}
	_, err := s.env.Out.Write(b.Bytes())
	return err
}

// yamlOf turns JSON, which is YAML too, into the form that people write, with its
// keys in order.
func yamlOf(data []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	return yamlText(&doc)
}

func yamlText(doc *yaml.Node) ([]byte, error) {
	unfold(doc)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

func unfold(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, child := range n.Content {
		unfold(child)
	}
}

// table prints a table, or, when it has no rows, what to say instead.
func (s *session) table(t *table, none string) error {
	if len(t.rows) == 0 {
		return s.note("%s", none)
	}
	return t.writeTo(s.env.Out, s.format == formatWide, s.colours())
}

// facts prints names with values.
func (s *session) facts(f *facts) error { return f.writeTo(s.env.Out, s.colours()) }

// say prints a line of the result, for people.
func (s *session) say(format string, args ...any) error {
	_, err := fmt.Fprintln(s.env.Out, clean(fmt.Sprintf(format, args...), false))
	return err
}

// note prints a line beside the result, on standard error.
func (s *session) note(format string, args ...any) error {
	_, err := fmt.Fprintln(s.env.Err, clean(fmt.Sprintf(format, args...), false))
	return err
}

// colours says whether the result may be coloured.
func (s *session) colours() bool {
	_, no := s.env.Lookup("NO_COLOR")
	return s.env.OutTerminal && !no
}
