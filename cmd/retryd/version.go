package main

import "runtime/debug"

// version is that of this binary.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info)
}

// versionOf is the module's version, or the revision that it was built from.
func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	main, revision, dirty := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+modified"
		}
	}
	if main == "" || main == "(devel)" {
		main = "devel"
		if revision != "" {
			main += " " + revision + dirty
		}
	}
	return main + " " + info.GoVersion
}
