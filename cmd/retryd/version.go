package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "retryd", versionOf(info))
			return err
		},
	}
}

// versionOf is the module's version, or the revision that it was built from.
func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	version, revision, dirty := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+modified"
		}
	}
	if version == "" || version == "(devel)" {
		version = "devel"
		if revision != "" {
			version += " " + revision + dirty
		}
	}
	return version + " " + info.GoVersion
}
