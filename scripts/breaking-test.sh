#!/usr/bin/env bash
# Shows that buf breaking catches what would break clients: the protos as they are must
# pass against themselves, and each of the changes below must be caught by its rule.
set -euo pipefail
cd "$(dirname "$0")/.."
buf=$PWD/.bin/buf

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$buf" build -o "$work/before.binpb"

# breaking <sed script> <file>: changes a copy of the protos by the script and tells what
# buf breaking has to say about it.
breaking() {
	rm -rf "$work/copy" && mkdir "$work/copy"
	cp -r buf.yaml proto "$work/copy"
	sed -i.bak -E "$1" "$work/copy/proto/retry/v1/$2"
	# A script that changes nothing proves nothing.
	if [ -n "$1" ] && cmp -s "$work/copy/proto/retry/v1/$2" "proto/retry/v1/$2"; then
		echo "breaking test: '$1' changes nothing in $2" >&2
		exit 1
	fi
	rm "$work/copy/proto/retry/v1/$2.bak"
	(cd "$work/copy" && "$buf" breaking --against "$work/before.binpb" --error-format json) || true
}

caught() {
	local found
	found=$(breaking "$2" "$3")
	if ! grep -q "\"type\":\"$1\"" <<<"$found"; then
		echo "breaking test: '$2' in $3 is not caught by $1; found: ${found:-nothing}" >&2
		exit 1
	fi
	echo "breaking test: $1 catches '$2' in $3"
}

found=$(breaking '' decision.proto)
if [ -n "$found" ]; then
	echo "breaking test: protos without a change are refused: $found" >&2
	exit 1
fi
echo "breaking test: protos without a change pass"

caught FIELD_NO_DELETE '/int32 retries_left = /d' decision.proto
caught FIELD_SAME_NAME 's/bool permanent =/bool final =/' failure.proto
caught FIELD_SAME_TYPE 's/int64 policy_revision =/string policy_revision =/' decision.proto
caught ENUM_VALUE_NO_DELETE '/REASON_NO_POLICY = /d' decision.proto
caught RPC_NO_DELETE '/rpc ReleaseLease\(/,/^  }/d' retry_service.proto
