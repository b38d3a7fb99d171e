#!/usr/bin/env bash
# Runs all tests in random order and under the race detector, which needs a C compiler;
# it is installed when missing, and where that is impossible the tests run without.
# Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

race=-race
compiler=$("$go" env CC)
if ! command -v "${compiler%% *}" >/dev/null 2>&1 && ! scripts/ensure.sh gcc; then
	echo "NOTE: no C compiler, so the tests run without the race detector" >&2
	race=
else
	export CGO_ENABLED=1
fi
# shellcheck disable=SC2086 # race is one word or none
"$go" test $race -shuffle=on "$@" ./...
