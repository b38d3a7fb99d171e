package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// filter says which tasks are meant. Every command has the flags of some of its
// fields.
type filter struct {
	queue, group, policy, job, environment string
	fingerprint, condition                 string
	state                                  enumFlag[retryv1.Task_State]
	reason                                 enumFlag[retryv1.Reason]
	// all says that no filter is a choice, and not forgotten.
	all bool
}

// narrowing are the flags that leave tasks out, as opposed to --all.
var narrowing = []string{"queue", "group", "policy", "job", "environment", "fingerprint", "condition", "state", "reason"}

func (f *filter) addCommon(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.queue, "queue", "q", "", "only those of this queue")
	flags.StringVar(&f.group, "group", "", "only those of this group")
	flags.StringVar(&f.policy, "policy", "", "only those of this policy, also where it came from a job")
	flags.StringVar(&f.job, "job", "", "only those of this job")
	flags.StringVar(&f.environment, "environment", "", "only those of this environment")
}

func (f *filter) addDead(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.fingerprint, "fingerprint", "", "only dead letters of this fingerprint, as dead groups tells it")
	f.reason = newEnumFlag[retryv1.Reason]("REASON_")
	cmd.Flags().Var(&f.reason, "reason", "only dead letters that died for this reason, such as RETRIES_EXHAUSTED")
}

func (f *filter) addCondition(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.condition, "condition", "", "only those held for this condition")
}

func (f *filter) addState(cmd *cobra.Command, allowed ...retryv1.Task_State) {
	f.state = newEnumFlag("STATE_", allowed...)
	cmd.Flags().Var(&f.state, "state", "only those in this state: "+strings.Join(f.state.names(), ", "))
}

func (f *filter) addAll(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.all, "all", false, "all "+what+" of the namespace, where no other flag says which")
}

// chosen refuses a call that says not which tasks are meant: to forget a flag must
// not mean everything.
func (f *filter) chosen(cmd *cobra.Command) error {
	var given []string
	for _, name := range narrowing {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed {
			given = append(given, "--"+name)
		}
	}
	switch {
	case f.all && len(given) > 0:
		return usagef("--all and %s contradict each other", strings.Join(given, ", "))
	case !f.all && len(given) == 0:
		return usagef("say which are meant, such as by --queue or --fingerprint; --all means all of the namespace")
	}
	return nil
}

// enumFlag is a flag whose values are those of an enum of the API, without their
// prefix and in any case.
type enumFlag[E protoreflect.Enum] struct {
	prefix  string
	allowed []E
	value   E
	given   bool
}

// newEnumFlag returns one for such values; without any, for all but the unspecified.
func newEnumFlag[E protoreflect.Enum](prefix string, allowed ...E) enumFlag[E] {
	if len(allowed) == 0 {
		var e E
		values := e.Descriptor().Values()
		for i := 1; i < values.Len(); i++ {
			allowed = append(allowed, e.Type().New(values.Get(i).Number()).(E)) //nolint:forcetypeassert // it is of E's type
		}
	}
	return enumFlag[E]{prefix: prefix, allowed: allowed}
}

func (f *enumFlag[E]) names() []string {
	var out []string
	for _, e := range f.allowed {
		out = append(out, enumName(e, f.prefix))
	}
	return out
}

// String implements [pflag.Value].
func (f *enumFlag[E]) String() string {
	if !f.given {
		return ""
	}
	return enumName(f.value, f.prefix)
}

// Type implements [pflag.Value].
func (f *enumFlag[E]) Type() string { return strings.ToLower(strings.Trim(f.prefix, "_")) }

// Set implements [pflag.Value].
func (f *enumFlag[E]) Set(text string) error {
	want := strings.TrimPrefix(strings.ReplaceAll(strings.ToUpper(text), "-", "_"), f.prefix)
	i := slices.Index(f.names(), want)
	if i < 0 {
		return fmt.Errorf("it must be one of %s", strings.Join(f.names(), ", "))
	}
	f.value, f.given = f.allowed[i], true
	return nil
}

// enumName is the name of an enum's value without its prefix; empty for the
// unspecified one.
func enumName(e protoreflect.Enum, prefix string) string {
	v := e.Descriptor().Values().ByNumber(e.Number())
	if v == nil {
		return fmt.Sprint(e.Number())
	}
	if e.Number() == 0 {
		return ""
	}
	return strings.TrimPrefix(string(v.Name()), prefix)
}
