#!/usr/bin/env bash
# Measures what the kernel programs and the collector cost, as ratios against something measured in the same run, so that
# they can be compared between machines.
#
#   scripts/bench.sh            both
#   scripts/bench.sh kernel     the flow program against an empty one, its features, and draining its map (needs root)
#   scripts/bench.sh ingest     the collector against plain SQLite, 30 s
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

usage() {
  echo "usage: $0 [kernel] [ingest]" >&2
  exit 2
}

benches=("$@")
((${#benches[@]})) || benches=(kernel ingest)
for bench in "${benches[@]}"; do
  [[ $bench == kernel || $bench == ingest ]] || usage
done

run_kernel() {
  has_btf || die 'this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing)'
  if ((EUID != 0)); then
    ask_for_root
    $can_be_root || die 'loading eBPF programs needs root: run this as root, or as a user who may use sudo'
    local host
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/as-root.sh"
  fi
  cargo bench --locked --package netobserv-agent --bench kernel --bench hooks
}

run_ingest() { cargo bench --locked --package netobserv-collector --bench ingest; }

need_rust
apt_install "${missing_packages[@]}"
note "$(nproc) CPUs, $(uname -sr), load $(cut -d' ' -f1-3 /proc/loadavg): a busy machine measures worse"
# Programs that a bench starts are the optimised ones.
cargo build --quiet --release --locked --package netobserv-agent --package netobserv-collector
for bench in "${benches[@]}"; do
  heading "$bench"
  "run_$bench"
done
