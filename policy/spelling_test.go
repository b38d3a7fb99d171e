package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/retryd/retryd/policy"
)

func TestValidNames(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct{ id, name bool }{
		"":                       {},
		"a":                      {true, true},
		"sms-2":                  {true, true},
		"Sms":                    {false, true},
		"eu/prod:1.b_c":          {false, true},
		"a b":                    {},
		"über":                   {},
		"a\n":                    {},
		"a\x00":                  {},
		strings.Repeat("a", 63):  {true, true},
		strings.Repeat("a", 64):  {false, true},
		strings.Repeat("a", 100): {false, true},
		strings.Repeat("a", 101): {},
	} {
		if got := policy.ValidID(s); got != want.id {
			t.Errorf("ValidID(%q) is %t", s, got)
		}
		if got := policy.ValidName(s); got != want.name {
			t.Errorf("ValidName(%q) is %t", s, got)
		}
	}
}

func TestValidateNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, displayName string
		want            []string
	}{
		{"a", "A", nil},
		{"a", strings.Repeat("ü", 200), nil},
		{"a", strings.Repeat("ü", 201), []string{"display_name"}},
		{"A", "A", []string{"id"}},
		{"", "", []string{"id", "display_name"}},
		{"a", "\xff", []string{"display_name"}},
	} {
		if got := fieldsOf(policy.ValidateNames(c.id, c.displayName)); !slices.Equal(got, c.want) {
			t.Errorf("ValidateNames(%q, %q) names %q, want %q", c.id, c.displayName, got, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                       `""`,
		"a\n":                    `"a\n"`,
		strings.Repeat("a", 101): `"` + strings.Repeat("a", 100) + `"... (101 bytes)`,
	} {
		if got := policy.Quote(s); got != want {
			t.Errorf("Quote(%q) is %s, want %s", s, got, want)
		}
	}
}
