#!/usr/bin/env bash
# Shows that the linter's rules catch what they should and nothing else: in the small
# project under testdata/lint every line marked "want <linter>" must be reported by
# that linter, once per mention, and no other line.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top/scripts/testdata/lint"

want=$(grep -rn --include='*.go' -E '// want ' . |
	sed -E 's#^\./([^:]+:[0-9]+):.*// want (.*)$#\1 \2#' |
	awk '{ for (i = 2; i <= NF; i++) print $1, $i }' | sort)

out=$("$top/.bin/golangci-lint" run --config "$top/.golangci.yml" --enable-only depguard,forbidigo \
	--uniq-by-line=false --issues-exit-code=0 --show-stats=false \
	--output.text.print-issued-lines=false --output.text.colors=false ./...)
got=$(sed -nE 's#^([^:]+:[0-9]+):.*\((depguard|forbidigo)\)$#\1 \2#p' <<<"$out" | sort)

if ! difference=$(diff <(echo "$want") <(echo "$got")); then
	echo "the linter's rules do not catch what they should (< wanted, > reported):" >&2
	echo "$difference" >&2
	exit 1
fi
echo "lint rules: all $(wc -l <<<"$want") planted violations caught, and nothing else"
