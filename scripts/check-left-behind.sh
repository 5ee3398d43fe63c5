#!/usr/bin/env bash
# What tests have left on this machine: whatever was made by one that lives no more.
#
#   scripts/check-left-behind.sh              lists it; exit code 1 when there is something
#   scripts/check-left-behind.sh --remove     removes it, and says what it was
#   scripts/check-left-behind.sh --note FILE  also writes down what bears no maker's name: interfaces, programs at them, mounts
#   scripts/check-left-behind.sh --since FILE lists what of that is new since then, too
#
# Namespaces (nstPIDx...), file systems (netobserv-test-PID) and folders (netobserv-run.PID...) carry the process that made
# them; processes are known by the namespace they are in, or by NETOBSERV_TEST_RUN=PID in their environment. So tests that
# still run, here or in another folder, are not looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

temporary=${NETOBSERV_RUN_PARENT:-/tmp}

is_dead() { [[ $1 =~ ^[0-9]+$ && ! -d /proc/$1 ]]; }

dead_namespaces() {
  local path name pid
  for path in /run/netns/nst*; do
    name=${path##*/}
    pid=${name#nst}
    if [[ -e $path ]] && is_dead "${pid%%x*}"; then echo "$name"; fi
  done
}

# Those of a test are killed with it, but for programs that it had others start.
dead_processes() {
  local name environ pid run
  for name in $(dead_namespaces); do
    PATH=$PATH:/usr/sbin:/sbin "${as_root[@]}" ip netns pids "$name" 2>/dev/null || true
  done
  # /proc/PID/environ:NETOBSERV_TEST_RUN=PID, with a zero behind it.
  while IFS=: read -r -d '' environ run; do
    pid=${environ#/proc/}
    if is_dead "${run#*=}"; then echo "${pid%/environ}"; fi
  done < <("${as_root[@]}" grep -asHoz '^NETOBSERV_TEST_RUN=[0-9]*' /proc/[0-9]*/environ || true)
}

dead_mounts() {
  local device folder
  while read -r device folder _; do
    if [[ $device == netobserv-test-* ]] && is_dead "${device#netobserv-test-}"; then echo "$folder"; fi
  done </proc/mounts
}

dead_folders() {
  local path pid
  for path in "$temporary"/netobserv-run.*; do
    pid=${path##*/netobserv-run.}
    if [[ -d $path ]] && is_dead "${pid%%.*}"; then echo "$path"; fi
  done
}

program() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | cut -c 1-100 || true; }

list() {
  local one
  for one in $(dead_processes | sort -un); do echo "process $one: $(program "$one")"; done
  for one in $(dead_namespaces); do echo "namespace $one"; done
  for one in $(dead_mounts); do echo "mount $one"; done
  for one in $(dead_folders); do echo "folder $one"; done
}

# In this order: what holds something goes before what it holds.
remove() {
  local one
  for one in $(dead_processes | sort -un); do "${as_root[@]}" kill -KILL "$one" 2>/dev/null || true; done
  for one in $(dead_namespaces); do PATH=$PATH:/usr/sbin:/sbin "${as_root[@]}" ip netns del "$one" || true; done
  for one in $(dead_mounts); do "${as_root[@]}" umount -l "$one" || true; done
  for one in $(dead_folders); do "${as_root[@]}" rm -rf --one-file-system "$one" || true; done
}

# Interfaces of this namespace, filters of ours at them, and mounts of ours, that no living test has made.
unnamed() {
  local link pid
  for link in /sys/class/net/*; do
    link=${link##*/}
    echo "interface $link"
    PATH=$PATH:/usr/sbin:/sbin "${as_root[@]}" tc filter show dev "$link" ingress 2>/dev/null |
      sed -nE "s/.*((flow|packet)_[a-z_]+).*/program \1 at $link/p"
  done
  while read -r _ link _; do
    pid=$(grep -oE '(netobserv-run\.|nst)[0-9]+' <<<"$link" | grep -oE '[0-9]+$') || continue
    if is_dead "$pid"; then echo "mount $link"; fi
  done </proc/mounts
}

case ${1-} in
  '')
    left=$(list)
    ;;
  --remove)
    left=
    list
    remove
    ;;
  --note)
    unnamed | sort >"$2"
    left=
    ;;
  --since)
    left=$(list && unnamed | sort | comm -13 "$2" -)
    ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
if [[ -n $left ]]; then
  printf '%s\n' "$left"
  exit 1
fi
