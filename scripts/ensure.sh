#!/usr/bin/env bash
# ensure.sh <command>: makes sure that a command is there, or for python3-grpcio a package of
# Python's, installing it by the system's package manager when it is not. Fails, and says what
# to do, where that is impossible.
set -euo pipefail

# Several packages for one command are joined by +. Distributions keep the well-known types
# apart from protoc.
#
# command      apt                dnf, yum           apk        brew
packages='
protoc       protobuf-compiler+libprotobuf-dev protobuf-compiler+protobuf-devel protoc+protobuf-dev protobuf
gcc          build-essential    gcc                build-base -
redis-server redis-server       redis              redis      redis
beanstalkd   beanstalkd         beanstalkd         beanstalkd beanstalkd
initdb       postgresql         postgresql-server  postgresql postgresql
node         nodejs             nodejs             nodejs     node
npm          npm                npm                npm        node
grpc_python_plugin protobuf-compiler-grpc grpc-plugins grpc-plugins grpc
python3-grpcio python3-grpcio    python3-grpcio     py3-grpcio -
ip           iproute2           iproute            iproute2   -
promtool     prometheus         golang-github-prometheus prometheus prometheus
systemd-analyze systemd         systemd            -          -
'

# Debian keeps the programs of PostgreSQL out of the path.
for dir in /usr/lib/postgresql/*/bin; do
	PATH=$PATH:$dir
done

command=$1
present() {
	case $command in
	python3-grpcio) python3 -c 'import grpc' || /usr/bin/python3 -c 'import grpc' ;;
	protoc) protoc --descriptor_set_out=/dev/null google/protobuf/timestamp.proto ;;
	*) command -v "$command" ;;
	esac >/dev/null 2>&1
}
if present; then
	exit 0
fi
read -r _ apt dnf apk brew < <(grep "^$command " <<<"$packages")
IFS=+ read -ra apt <<<"$apt"
IFS=+ read -ra dnf <<<"$dnf"
IFS=+ read -ra apk <<<"$apk"

as_root=
if [ "$(id -u)" -ne 0 ]; then
	# -n: never wait for a password.
	as_root="sudo -n"
fi

install() {
	if command -v apt-get >/dev/null 2>&1; then
		export DEBIAN_FRONTEND=noninteractive
		$as_root apt-get install -y --no-install-recommends "${apt[@]}" ||
			{ $as_root apt-get update && $as_root apt-get install -y --no-install-recommends "${apt[@]}"; }
	elif command -v dnf >/dev/null 2>&1; then
		$as_root dnf install -y "${dnf[@]}"
	elif command -v yum >/dev/null 2>&1; then
		$as_root yum install -y "${dnf[@]}"
	elif command -v apk >/dev/null 2>&1; then
		$as_root apk add "${apk[@]}"
	elif command -v brew >/dev/null 2>&1 && [ "$brew" != - ]; then
		brew install "$brew"
	else
		return 1
	fi
}

echo "$command is missing; installing it" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install </dev/null >"$log" 2>&1 || ! present; then
	tail -n 5 "$log" >&2
	echo "cannot install $command here; install it by hand (Debian: ${apt[*]}, Fedora: ${dnf[*]}, Alpine: ${apk[*]}) and try again" >&2
	exit 1
fi

# Tests start servers of their own; the one that some packages start for the whole
# machine is wanted by nobody.
service=
case $command in
redis-server | beanstalkd) service=$command ;;
initdb) service=postgresql ;;
promtool) service=prometheus ;;
esac
if [ -n "$service" ]; then
	{ $as_root systemctl disable --now "$service" || $as_root service "$service" stop; } >/dev/null 2>&1 || true
fi
