#!/usr/bin/env bash
# Runs all tests in random order and under the race detector. They need redis-server, and
# the race detector a C compiler; both are installed when missing. Where that is
# impossible, the tests run without the race detector, and those on Redis fail.
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
scripts/ensure.sh redis-server || true
# shellcheck disable=SC2086 # race is one word or none
"$go" test $race -shuffle=on "$@" ./...
# The tests of the upper layers once more, on Redis, as far as they are not in virtual time.
# shellcheck disable=SC2086 # race is one word or none
RETRYD_TEST_STORE=redis "$go" test $race -shuffle=on "$@" ./server ./client
