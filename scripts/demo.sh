#!/usr/bin/env bash
# Shows a capture on this machine: two network namespaces with HTTP, DNS, ping and bulk TCP between them, ten seconds of
# `oc-netobserv flows --local`, and three questions to the files; then five seconds of `packets --local` on port 80, read by
# tshark. Installs what is missing (Debian, Ubuntu), needs root or sudo, and leaves nothing but the files in ./output.
#
#   scripts/demo.sh              everything
#   scripts/demo.sh --cluster    another show, of a minute: a cluster of three nodes on this machine, a policy that keeps a pod
#                                from its database, and one capture from `Setting up...` to cleaned up. On a terminal it is live
#   scripts/demo.sh --no-build   with the programs that are built already
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

seconds=10
packet_seconds=5
programs=target/release
build=true cluster=false folder=output
for arg in "$@"; do
  case $arg in
    --no-build) build=false ;;
    --cluster) cluster=true ;;
    --output-dir=?*) folder=${arg#*=} ;; # with --cluster: where the test of this script wants the files
    *)
      echo "usage: $0 [--cluster] [--no-build]" >&2
      exit 2
      ;;
  esac
done

if $build; then
  ask_for_root
  need_rust
  need ip iproute2
  need ping iputils-ping
  need python3 python3
  need curl curl
  need sqlite3 sqlite3
  if $cluster; then need nft nftables; else need tshark tshark; fi
  apt_install "${missing_packages[@]}"
  heading 'Building'
  if $cluster; then
    cargo build --locked --workspace --bins
  else
    cargo build --release --locked --package oc-netobserv --package netobserv-agent --package netobserv-collector
  fi
fi
if ((EUID != 0)); then
  $can_be_root || die 'loading eBPF programs needs root: run this as root, or as a user who may use sudo'
  exec sudo -n env "PATH=$PATH:/usr/sbin:/sbin" "NO_COLOR=${NO_COLOR-}" "TERM=${TERM-dumb}" "COLORTERM=${COLORTERM-}" "$0" --no-build "$@"
fi
has_btf || die 'this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): a kernel with CONFIG_DEBUG_INFO_BTF is needed'

# The show takes down its cluster itself, however it ends, with Ctrl-C too.
if $cluster; then
  programs=${NETOBSERV_BIN_DIR:-$(realpath "${CARGO_TARGET_DIR:-target}/debug")}
  [[ -x $programs/netobserv-test-show ]] || die "there is no $programs/netobserv-test-show: run $0 --cluster without --no-build"
  trap ':' INT
  status=0
  words=()
  if [[ $folder != output ]]; then words+=("$folder"); fi
  NETOBSERV_BIN_DIR=$programs "$programs/netobserv-test-show" "${words[@]}" || status=$?
  restore_netns_mount
  if [[ -n ${SUDO_UID-} && -d $folder ]]; then chown -R "$SUDO_UID:${SUDO_GID-}" "$folder"; fi
  exit "$status"
fi

client=nodemo-$$-a
server=nodemo-$$-b
# An interface name has at most 15 characters.
link_a=nd$$a
link_b=nd$$b
web=$(mktemp -d)
running=''

in_client() { ip netns exec "$client" "$@"; }
in_server() { ip netns exec "$server" "$@"; }

# Also after Ctrl-C in the middle of anything, so each step may have nothing to do.
clean_up() {
  trap '' INT TERM HUP
  if [[ -n $running ]]; then
    kill -TERM "$running" 2>/dev/null || true
    wait "$running" 2>/dev/null || true
  fi
  local name
  for name in "$client" "$server"; do
    # A namespace stays as long as a process is in it.
    ip netns pids "$name" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
    ip netns del "$name" 2>/dev/null || true
  done
  ip link del "$link_a" 2>/dev/null || true
  restore_netns_mount
  rm -rf "$web"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

make_network() {
  ip netns add "$client"
  ip netns add "$server"
  ip link add "$link_a" netns "$client" type veth peer name "$link_b" netns "$server"
  # nodad: an IPv6 address that can be used at once.
  in_client ip address add 10.77.0.1/24 dev "$link_a"
  in_client ip address add fd77::1/64 dev "$link_a" nodad
  in_server ip address add 10.77.0.2/24 dev "$link_b"
  in_server ip address add fd77::2/64 dev "$link_b" nodad
  in_client ip link set "$link_a" up
  in_server ip link set "$link_b" up
  in_server ip link set lo up
}

# All of it ends with its namespace; nothing is written to the terminal.
start_traffic() {
  seq 1 20000 >"$web/index.html"
  in_server python3 -m http.server --bind :: --directory "$web" 8080 >/dev/null 2>&1 &
  in_server python3 -m http.server --bind :: --directory "$web" 80 >/dev/null 2>&1 &
  in_server python3 scripts/demo-traffic.py dns-server 10.77.0.2 >/dev/null 2>&1 &
  in_server python3 scripts/demo-traffic.py bulk-server 10.77.0.2 >/dev/null 2>&1 &
  in_client python3 scripts/demo-traffic.py dns-client 10.77.0.2 >/dev/null 2>&1 &
  in_client python3 scripts/demo-traffic.py bulk-client 10.77.0.2 >/dev/null 2>&1 &
  in_client ping -q -i 0.2 10.77.0.2 >/dev/null 2>&1 &
  in_client ping -q -i 0.2 fd77::2 >/dev/null 2>&1 &
  # shellcheck disable=SC2016 # the inner shell expands it
  in_client bash -c 'while sleep 0.2; do for url; do curl -s -m 2 -o /dev/null "$url"; done; done' curls \
    http://10.77.0.2:8080/ 'http://[fd77::2]:8080/' http://10.77.0.2/ >/dev/null 2>&1 &
}

# In the background, so that this script can be ended while it runs; it keeps the terminal.
capture() {
  local status=0 command=("$programs/oc-netobserv" "$1" --local "--interfaces=$link_a" "${@:2}")
  heading "${command[*]}"
  "${command[@]}" <&0 &
  running=$!
  wait "$running" || status=$?
  running=''
  ((status == 0)) || die "the capture ended with exit code $status"
  if [[ -n ${SUDO_UID-} ]]; then chown -R "$SUDO_UID:${SUDO_GID-}" output; fi
}

# The folder is this script's to look into: the newest file is the capture's.
newest() {
  local file
  file=$(find "output/$1" -name "*.$2" -newermt "@$((started - 1))" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
  [[ -n $file ]] || die "the capture has written no .$2 file"
  printf '%s' "$file"
}

ask() {
  local question=$1 sql=$2
  printf '\n%s%s%s\n' "$bold" "$question" "$plain"
  note "sqlite3 $db \"$sql\""
  sqlite3 -header -column "$db" "$sql"
}

heading 'Two namespaces, a veth between them, and HTTP, DNS, ping and bulk TCP'
make_network
start_traffic
note "$client ($link_a, 10.77.0.1, fd77::1)  <->  $server ($link_b, 10.77.0.2, fd77::2)"

started=$(date +%s)
if [[ -t 1 ]]; then note 'when the time is over, the screen stays until q'; fi
capture flows --enable_all "--max-time=${seconds}s"
db=$(newest flow db)
json=${db%.db}.json

heading 'The files'
ls -lh "$json" "$db"
note "$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))), "flows in a valid JSON array")' "$json")"

heading 'Three questions'
ask 'The first ten flows, in the columns that scripts for the original use' \
  'SELECT DnsLatencyMs, DnsFlagsResponseCode, DnsId, DstAddr, DstPort, Interface, Proto, SrcAddr, SrcPort, Bytes, Packets FROM flow LIMIT 10;'
ask 'The largest conversations, both directions in one row' \
  'SELECT client, server, port, protocol, count(*) AS number, sum(packets_to_server), sum(bytes_to_server), sum(packets_to_client),
     sum(bytes_to_client), max(rtt_ms) FROM conversation GROUP BY 1, 2, 3, 4 ORDER BY sum(bytes_to_server) + sum(bytes_to_client) DESC LIMIT 8;'
ask 'What was counted, and what was lost' \
  "SELECT name, value FROM capture WHERE name IN ('start', 'end', 'flows', 'packets', 'bytes') OR name LIKE 'lost%';"

# The second scene of the original: the packets of HTTP, request and response.
capture packets tcp,80 "--max-time=${packet_seconds}s"
pcap=$(newest pcap pcapng)
# Wireshark warns its users of root; the file is our own.
read_packets() { tshark -n -r "$pcap" "$@" 2>/dev/null; }

heading 'Requests and responses, and what stands at the first packet'
note "tshark -r $pcap -Y http"
read_packets -Y http -c 2000 -T fields -E separator=' ' -e frame.interface_name -e frame.len -e http.request.method \
  -e http.request.uri -e http.response.code -e http.response.phrase -e http.server | sed -n 1,6p
read_packets -c 1 -T fields -e frame.comment | sed 's/\\n/\n/g; s/,\([DC][eo]\)/\n\1/g'
[[ -n $(read_packets -Y http.request -T fields -e http.request.uri) ]] || die 'there is no HTTP request in the packets'
[[ -n $(read_packets -Y 'http.response.code == 200' -T fields -e frame.number) ]] || die 'there is no HTTP response in the packets'
