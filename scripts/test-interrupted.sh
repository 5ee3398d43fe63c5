#!/usr/bin/env bash
# Interrupts a test of a whole capture at random moments, with Ctrl-C and with SIGKILL, and looks at what stays: nothing, once
# what the killed could not do has been done for them (scripts/check-left-behind.sh --remove, as scripts/test.sh does at its
# end, and each test for those before it). Then the same test has to pass.
#
#   scripts/test-interrupted.sh [ROUNDS]    4 by default; needs root
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

rounds=${1:-4}
seed=${NETOBSERV_TEST_SEED:-$RANDOM}
RANDOM=$seed
test=ctrl_c_copies_and_cleans_up
work=$(mktemp -d)
running=''
clean_up() {
  if [[ -n $running ]]; then "${as_root[@]}" kill -KILL -- "-$running" 2>/dev/null || true; fi
  scripts/check-left-behind.sh --remove >/dev/null
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

program=$(cargo test --workspace --locked --no-run --test cluster_captures --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*cluster_captures-[^"]*\)".*/\1/p')
[[ -x $program ]] || die 'cannot build the test: cargo test --workspace --no-run --test cluster_captures'
cargo build --workspace --locked --bins --quiet
NETOBSERV_BIN_DIR=$(dirname "$(dirname "$program")")
export NETOBSERV_BIN_DIR

# begin: a run of the test in a process group of its own, with a folder that carries the name of the process.
begin() {
  set -m
  (
    TMPDIR=/tmp/netobserv-run.$BASHPID.interrupted NETOBSERV_TEST_RUN=$BASHPID
    export TMPDIR NETOBSERV_TEST_RUN
    mkdir -m 711 "$TMPDIR"
    exec "${as_root[@]}" env "TMPDIR=$TMPDIR" "NETOBSERV_TEST_RUN=$NETOBSERV_TEST_RUN" "NETOBSERV_BIN_DIR=$NETOBSERV_BIN_DIR" \
      NETOBSERV_REQUIRE_PRIVILEGED=1 "$program" --exact "$test" >"$work/log" 2>&1
  ) &
  running=$!
  set +m
}

left() { scripts/check-left-behind.sh --since "$work/before"; }

scripts/check-left-behind.sh --remove >/dev/null
scripts/check-left-behind.sh --note "$work/before"
for ((round = 0; round < rounds; round++)); do
  signal=$([[ $((round % 2)) == 0 ]] && echo KILL || echo INT)
  tenths=$((RANDOM % 90 + 5))
  begin
  sleep "$((tenths / 10)).$((tenths % 10))" # The moment of the fault.
  "${as_root[@]}" kill "-$signal" -- "-$running" 2>/dev/null || true
  wait "$running" 2>/dev/null || true
  running=''
  removed=$(scripts/check-left-behind.sh --remove)
  for _ in {1..100}; do
    if left >/dev/null; then break; fi
    sleep 0.1
  done
  left || die "$signal after $tenths tenths of a second: the above is left (NETOBSERV_TEST_SEED=$seed)"
  note "$signal after $((tenths / 10)).$((tenths % 10)) s: $(grep -c . <<<"$removed" || true) things were there, nothing is left"
done

begin
status=0
wait "$running" || status=$?
running=''
if ((status)); then
  cat "$work/log" >&2
  die "the test fails after it was interrupted (NETOBSERV_TEST_SEED=$seed)"
fi
scripts/check-left-behind.sh --remove >/dev/null
left || die 'the above is left by a test that passed'
good "interrupted $rounds times, and nothing was left; the test still passes"
