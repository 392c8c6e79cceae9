# Shared by the scripts: sourced, never run.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
CACHE="$ROOT/.cache"
export ROOT VENV CACHE

say() {
	printf '==> %s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# need_packages PACKAGE...: installs the Debian packages that are missing, where that is
# possible; else names them.
need_packages() {
	local missing=() package
	for package in "$@"; do
		if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
			missing+=("$package")
		fi
	done
	if [ ${#missing[@]} -eq 0 ]; then
		return 0
	fi
	local as_root=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "needs root to install: ${missing[*]}"
		as_root=(sudo)
	fi
	say "installing packages: ${missing[*]}"
	# Services that a package would start are none of our business: policy-rc.d forbids it
	# for the time of the installation where nobody has put one there.
	# shellcheck disable=SC2016 # the inner shell expands
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
		set -eu
		policy=/usr/sbin/policy-rc.d
		if [ ! -e "$policy" ]; then
			printf "#!/bin/sh\nexit 101\n" >"$policy"
			chmod 755 "$policy"
			trap "rm -f $policy" EXIT
		fi
		apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
			apt-get update -qq
			apt-get install -y -qq --no-install-recommends "$@" >/dev/null
		}' sh "${missing[@]}"
}

# find_python: prints the Python to make the venv with.
find_python() {
	local candidate
	for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
		if command -v "$candidate" >/dev/null &&
			"$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
			command -v "$candidate"
			return 0
		fi
	done
	die "needs python3 of version 3.11 or newer"
}
