package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/mistakes"
)

// sources fills the flags of a daemon from the environment and the configuration
// file, and knows where the value of each came from. A flag wins over the
// environment, and that over the file.
type sources struct {
	file string
	// err is whatever could not be read. It is told with all else that is wrong.
	err error
	// places are where values stand that no flag gave: a variable, or a line and key
	// of the file, each by its flag.
	places map[string]string
}

// addTo defines the flag of the file.
func (s *sources) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&s.file, "config", "", "YAML file of settings, by the names of their flags; the environment wins over it, and flags over both")
}

// bind has a command's flags filled before it runs. A flag that cannot be read does not
// end it by itself, but is told with all else that is wrong.
func (s *sources) bind(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch f.Value.Type() {
		case "bool", "int", "float64":
			f.Value = &patientValue{Value: f.Value, flag: f}
		}
	})
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		s.fill(cmd.Flags(), lookupEnv)
		return nil
	}
}

func (s *sources) fill(flags *pflag.FlagSet, lookup func(string) (string, bool)) {
	s.places = make(map[string]string)
	s.err = flagsFromEnvironment(flags, lookup)
	flags.VisitAll(func(f *pflag.Flag) {
		if v, ok := f.Value.(*patientValue); ok {
			s.err = errors.Join(s.err, v.err)
		}
		if _, ok := lookup(envName(f.Name)); ok && !f.Changed && f.Name != "help" {
			s.places[f.Name] = envName(f.Name)
		}
	})
	if s.file == "" {
		return
	}
	found := mistakes.In(s.file)
	entries, err := readConfigFile(s.file, found)
	if err != nil {
		err = fmt.Errorf("%s: %w", setting("config"), err)
	}
	for _, e := range entries {
		if err := s.take(flags, e); err != nil {
			found.Add(e.line, "%w", err)
		}
	}
	s.err = errors.Join(s.err, err, found.Err())
}

// take sets a flag to what the file says, unless it is set already.
func (s *sources) take(flags *pflag.FlagSet, e configEntry) error {
	f := flags.Lookup(e.key)
	if f == nil || e.key == "config" || e.key == "help" {
		return unknownSetting(e.key, flags)
	}
	value, err := e.read()
	if err != nil {
		return fmt.Errorf("%s %w", e.key, err)
	}
	if _, given := s.places[e.key]; given || f.Changed {
		return nil
	}
	s.places[e.key] = fmt.Sprintf("%s:%d: %s", s.file, e.line, e.key)
	if !e.list {
		if err := setFlag(f, value[0]); err != nil {
			return fmt.Errorf("%s is %q: %w", e.key, value[0], err)
		}
		return nil
	}
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return fmt.Errorf("%s is a list: it must be one value", e.key)
	}
	if err := list.Replace(value); err != nil {
		return fmt.Errorf("%s is %q: %w", e.key, value, err)
	}
	return nil
}

// locate has an error name where each value came from, and not only how it can be
// given.
func (s *sources) locate(err error) error {
	if err == nil || len(s.places) == 0 {
		return err
	}
	var pairs []string
	for name, place := range s.places {
		pairs = append(pairs, setting(name), place)
	}
	return &locatedError{err, strings.NewReplacer(pairs...).Replace(err.Error())}
}

type locatedError struct {
	error
	text string
}

func (e *locatedError) Error() string { return e.text }
func (e *locatedError) Unwrap() error { return e.error }

// setFlag sets a flag, or leaves it at its default and says what its value must be.
func setFlag(f *pflag.Flag, value string) error {
	to := f.Value
	if v, ok := to.(*patientValue); ok {
		to = v.Value
	}
	err := to.Set(value)
	if err == nil {
		return nil
	}
	_ = to.Set(f.DefValue) // what was refused has no place beside it
	switch f.Value.Type() {
	case "bool":
		return errors.New("it must be true or false")
	case "int":
		return errors.New("it must be a whole number")
	case "float64":
		return errors.New("it must be a number")
	}
	return err
}

// patientValue is that of a flag which keeps for later what cannot be read.
type patientValue struct {
	pflag.Value
	flag *pflag.Flag
	err  error
}

// Set implements [pflag.Value].
func (v *patientValue) Set(text string) error {
	if err := setFlag(v.flag, text); err != nil {
		v.err = fmt.Errorf("%s is %q: %w", setting(v.flag.Name), text, err)
	}
	return nil
}

// unknownSetting says which settings may have been meant by a key.
func unknownSetting(key string, flags *pflag.FlagSet) error {
	if flagsOfServe().Lookup(key) != nil && key != "config" {
		return fmt.Errorf("%s is a setting of serve alone", key)
	}
	// The search is the one that finds mistyped commands.
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	if near := names.SuggestionsFor(key); len(near) > 0 {
		return fmt.Errorf("%s is no setting; did you mean %s?", key, strings.Join(near, " or "))
	}
	return fmt.Errorf("%s is no setting: the keys are the names of the flags, without dashes in front", key)
}
