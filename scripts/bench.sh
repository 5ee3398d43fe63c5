#!/usr/bin/env bash
# Measures what the kernel programs and the collector cost, as ratios against something measured in the same run, so that
# they can be compared between machines.
#
#   scripts/bench.sh            all of them
#   scripts/bench.sh kernel     the flow program against an empty one, its features, filter rules with up to 100,000 addresses, draining
#                               its map, and copying packets (needs root)
#   scripts/bench.sh ingest     the collector against plain SQLite, 30 s
#   scripts/bench.sh enrich     the collector with names of 10,000 pods against none, in turns, 30 s
#   scripts/bench.sh packets    a capture of packets: 500,000 a second of 128 bytes into the collector, and through the kernel and the
#                               agent; a stream of 1 Gbit/s; what was lost, and the memory of both programs, 60 s (needs root)
#   scripts/bench.sh screen     the collector with its screen against without, and what the screen puts out, 80 s
#   scripts/bench.sh attach     captures of 100, 300 and 1,000 interfaces: when all are watched, and when all is over after the limit,
#                               60 s (needs root)
#   scripts/bench.sh throughput TCP over a veth with a capture of everything against none, in turns, 50 s (needs root)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

usage() {
  echo "usage: $0 [kernel] [ingest] [enrich] [packets] [screen] [attach] [throughput]" >&2
  exit 2
}

benches=("$@")
((${#benches[@]})) || benches=(kernel ingest enrich packets screen attach throughput)
for bench in "${benches[@]}"; do
  case $bench in
    kernel | ingest | enrich | screen) ;;
    packets) need iperf3 iperf3 && need ip iproute2 && need capinfos wireshark-common ;;
    attach) need python3 python3 && need ip iproute2 ;;
    throughput) need iperf3 iperf3 && need python3 python3 && need ip iproute2 ;;
    *) usage ;;
  esac
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
  cargo bench --locked --package netobserv-agent --bench kernel --bench hooks --bench packets
}

run_screen() { cargo bench --locked --package netobserv-collector --bench screen; }

run_ingest() { cargo bench --locked --package netobserv-collector --bench ingest; }

# Not longer: what a run writes must fit below the share of memory (a tenth) at which the kernel makes writers wait for the disk.
run_enrich() { cargo bench --locked --package netobserv-collector --bench ingest -- --names --seconds 30; }

run_packets() {
  ((EUID == 0)) || die 'network namespaces and eBPF programs need root'
  cargo bench --locked --package netobserv-collector --bench packets
}

# A namespace of its own with so many interfaces, both ends of their cables in it.
run_attach() {
  ((EUID == 0)) || die 'network namespaces need root'
  local count
  for count in 100 300 1000; do attach "$count"; done
}

attach() (
  name="nobench-$$-$1" dir=$(mktemp -d)
  # shellcheck disable=SC2064 # the names as they are now
  trap "end_throughput '$name' '$name' '$dir'" EXIT
  trap 'exit 130' INT TERM HUP
  ip netns add "$name"
  for ((number = 0; number < $1; number += 2)); do
    echo "link add nba$number type veth peer name nba$((number + 1))"
  done | ip -n "$name" -batch -
  python3 - "$1" "$dir" <<'EOF'
import subprocess, sys, time
count, folder, limit = int(sys.argv[1]), sys.argv[2], 5
start = time.monotonic()
capture = subprocess.Popen(
    ["target/release/oc-netobserv", "flows", "--local", "-v", f"--output-dir={folder}", "--interfaces=/^nba/",
     f"--max-time={limit}s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
at = {}
for line in capture.stdout:
    for word in f"watching {count} interfaces", f"reached {limit}s", "lost: nothing":
        if word in line:
            at.setdefault(word, time.monotonic())
capture.wait()
end = time.monotonic()
watched, reached, summed_up = (at.get(word, float("inf")) for word in (f"watching {count} interfaces", f"reached {limit}s", "lost: nothing"))
good = watched - start <= 5 and summed_up - reached <= 1 and capture.returncode == 0
print(f"{count} interfaces: all watched {watched - start:.2f} s after the start (at most 5), the summary {summed_up - reached:.2f} s after "
      f"the limit (at most 1), the end {end - reached:.2f} s after it; limit {reached - watched:.2f} s after all were watched: "
      f"{'good' if good else 'NOT MET'}")
EOF
)

# Two namespaces of its own, and nothing but iperf3 between them.
run_throughput() {
  ((EUID == 0)) || die 'network namespaces need root'
  local a="nobench-$$-a" b="nobench-$$-b" dir without=() with=() _
  dir=$(mktemp -d)
  # shellcheck disable=SC2064 # the names as they are now
  trap "end_throughput '$a' '$b' '$dir'" EXIT
  trap 'exit 130' INT TERM HUP
  ip netns add "$a"
  ip netns add "$b"
  ip link add "nb$$a" netns "$a" type veth peer name "nb$$b" netns "$b"
  ip -n "$a" address add 10.78.0.1/24 dev "nb$$a"
  ip -n "$b" address add 10.78.0.2/24 dev "nb$$b"
  ip -n "$a" link set "nb$$a" up
  ip -n "$b" link set "nb$$b" up
  ip netns exec "$b" iperf3 --server >/dev/null &
  disown # killed in the end, which is no news
  throughput "$a" >/dev/null # the first run warms up
  for _ in {1..7}; do
    without+=("$(throughput "$a")")
    target/release/oc-netobserv flows --local -v --output-dir="$dir" --interfaces="nb$$a,nb$$b" --enable_all \
      --protocol=TCP or --protocol=UDP >/dev/null 2>"$dir/log" &
    until grep -q 'watching 2 interfaces' "$dir/log"; do kill -0 $! || die "no capture: $(cat "$dir/log")"; done
    with+=("$(throughput "$a")")
    kill -INT $!
    wait $! || die "the capture failed: $(cat "$dir/log")"
  done
  printf '%s\n' "${without[@]}" "${with[@]}" | python3 -c '
import statistics, sys
runs = [float(line) for line in sys.stdin]
half = len(runs) // 2
without, captured = statistics.median(runs[:half]), statistics.median(runs[half:])
ratio = statistics.median(c / w for w, c in zip(runs[:half], runs[half:]))
verdict = "good" if ratio >= 0.9 else "NOT MET"
print(f"TCP over a veth: {without:.2f} Gbit/s, captured with everything on {captured:.2f}: "
      f"{ratio:.2f} times ({half} pairs; {verdict}, at least 0.9)")'
}

# throughput NAMESPACE: Gbit/s of three seconds.
throughput() {
  local try
  for try in {1..50}; do
    if ip netns exec "$1" iperf3 --client 10.78.0.2 --time 3 --json 2>/dev/null |
      python3 -c 'import json, sys; print(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9)' 2>/dev/null; then
      return
    fi
    sleep 0.1
  done
  die "iperf3 did not run ($try tries)"
}

end_throughput() {
  for name in "$1" "$2"; do
    ip netns pids "$name" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
    ip netns del "$name" 2>/dev/null || true
  done
  rm -rf "$3"
}

need_rust
apt_install "${missing_packages[@]}"
note "$(nproc) CPUs, $(uname -sr), load $(cut -d' ' -f1-3 /proc/loadavg): a busy machine measures worse"
# Programs that a bench starts are the optimised ones.
cargo build --quiet --release --locked --bins
for bench in "${benches[@]}"; do
  heading "$bench"
  "run_$bench"
done
