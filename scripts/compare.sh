#!/usr/bin/env bash
# Compares the benchmarks beside the code with those of another revision, BASE: builds
# both, runs them in turn COUNT times, and has benchstat tell the difference.
set -euo pipefail
cd "$(dirname "$0")/.."

base="${BASE:?give the revision to compare with, such as BASE=HEAD~1}"
count="${COUNT:-6}"
pattern="${BENCH:-Decide|Explain|Record|Report/|Store/(Report|Claim|Settle)/1(00)?\$}"
packages="${PACKAGES:-policy scheduler scheduler/memstore scheduler/redisstore server}"
go="${GO:-go}"

scripts/ensure.sh redis-server
work="$(mktemp -d)"
repo="$PWD"
trap 'git -C "$repo" worktree remove --force "$work/base"; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/base" "$base"

build() { # directory name
	for p in $packages; do
		(cd "$1" && "$go" test -c -o "$work/$2-${p//\//-}.test" "./$p")
	done
}
build "$work/base" base
build . head

for _ in $(seq "$count"); do
	for side in base head; do
		for p in $packages; do
			(cd "$p" && GOGC=400 "$work/$side-${p//\//-}.test" -test.run '^$' -test.bench "$pattern" -test.benchmem \
				-test.benchtime "${BENCHTIME:-0.3s}") >>"$work/$side.txt"
		done
	done
done
cd "$work" && "${BENCHSTAT:?}" base.txt head.txt
