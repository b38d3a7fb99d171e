#!/usr/bin/env bash
# Shows that plain protoc compiles the protos with nothing but the well-known types that
# come with it, as users of any language do. Skipped where protoc cannot be had, except
# with CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! scripts/ensure.sh protoc; then
	if [ "${CI:-}" = true ]; then
		exit 1
	fi
	echo "SKIPPED: protos are not tried with protoc"
	exit 0
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
protoc --proto_path=proto --fatal_warnings --descriptor_set_out="$out/all.binpb" proto/retry/v1/*.proto
# Generators see more of a file than its descriptors; these two come with protoc.
protoc --proto_path=proto --python_out="$out" --java_out="$out" proto/retry/v1/*.proto
echo "$(protoc --version) compiles proto/retry/v1"
