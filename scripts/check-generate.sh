#!/usr/bin/env bash
# Fails when gen/ is not what `make generate` would make of proto/. The tree is left as
# it is: the code is generated into a temporary folder and compared.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
.bin/buf generate -o "$fresh"
if ! diff -ru gen "$fresh/gen"; then
	echo "gen/ differs from what proto/ says: run 'make generate' and commit the result" >&2
	exit 1
fi
echo "gen/ is up to date"
