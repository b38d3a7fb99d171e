#!/usr/bin/env bash
# Runs every fuzz target for a while, one after the other, since go test takes one at a
# time: FUZZTIME each, 10s by default.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

found=0
for package in $("$go" list ./...); do
	# The list ends with a line on the package itself.
	targets=$("$go" test -list '^Fuzz' "$package" | sed -n '/^Fuzz/p')
	for target in $targets; do
		found=$((found + 1))
		echo "--- $package $target"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$package"
	done
done
echo "$found fuzz targets ran"
