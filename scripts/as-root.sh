#!/usr/bin/env bash
# Runs a test program as root, for a cargo that runs as a user. sudo forgets the environment, so it is handed on by name.
set -euo pipefail

kept=("PATH=$PATH:/usr/sbin:/sbin" "HOME=$HOME")
for name in CI NO_COLOR RUST_BACKTRACE RUST_TEST_THREADS TMPDIR LD_LIBRARY_PATH; do
  if [[ -n ${!name-} ]]; then kept+=("$name=${!name}"); fi
done
while IFS= read -r name; do
  kept+=("$name=${!name}")
done < <(compgen -e | grep -E '^(NETOBSERV_|CARGO_)' || true)
exec sudo -n env "${kept[@]}" "$@"
