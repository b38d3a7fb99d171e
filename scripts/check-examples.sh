#!/usr/bin/env bash
# Runs the examples in Python and Node against a server. What they take is installed by
# the system's package manager where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
for command in protoc grpc_python_plugin node npm python3-grpcio; do
	scripts/ensure.sh "$command"
done
# Another Python may come first in the path than the one whose packages the system has.
if ! python3 -c 'import grpc' 2>/dev/null; then
	bin=$(mktemp -d)
	trap 'rm -rf "$bin"' EXIT
	ln -s /usr/bin/python3 "$bin/python3"
	PATH=$bin:$PATH
fi
RETRYD_TEST_EXAMPLES=1 "${GO:-go}" test -count=1 ./examples
