#!/usr/bin/env bash
# Captures on a real cluster, the one that KUBECONFIG points to: flows, packets, a capture in the background, and cleanup.
# One line a step, PASS or FAIL, with the output of a step that failed; the exit code is the number of failures.
#
#   scripts/smoke.sh [OPTION...]     the options go to every command, for instance: -n my-namespace --context=staging
#
# NETOBSERV is the program (default: target/release or target/debug/oc-netobserv), SMOKE_TIME how long each captures (10s).
# shellcheck disable=SC2317 # functions are called by `step`
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

time=${SMOKE_TIME:-10s}
netobserv=${NETOBSERV-}
for built in target/release/oc-netobserv target/debug/oc-netobserv; do
  if [[ -z $netobserv && -x $built ]]; then netobserv=$PWD/$built; fi
done
if [[ -z $netobserv ]]; then
  echo "smoke.sh: there is no oc-netobserv: run cargo build, or set NETOBSERV" >&2
  exit 2
fi

work=$(mktemp -d)
failures=0
started=false
options=("$@")

clean_up() {
  if $started; then "$netobserv" cleanup "${options[@]}" </dev/null >/dev/null 2>&1; fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step NAME COMMAND...: runs it without a terminal.
step() {
  local name=$1 begin=$SECONDS
  shift
  if "$@" </dev/null >"$work/log" 2>&1; then
    echo "PASS $name ($((SECONDS - begin)) s)"
  else
    echo "FAIL $name (exit code $?, $((SECONDS - begin)) s)"
    sed 's/^/     /' "$work/log"
    failures=$((failures + 1))
  fi
}

# run COMMAND OPTION...: the program under test.
run() {
  local command=$1
  shift
  "$netobserv" "$command" "${options[@]}" "$@"
}

# has FOLDER ENDING: some file of that ending, not empty, and a JSON array where it says so.
has() {
  local file
  for file in "$work/$1"/*/*."$2"; do
    if [[ -s $file ]]; then
      if [[ $2 == json ]]; then python3 -m json.tool "$file" >/dev/null; fi
      return
    fi
  done
  echo "no .$2 file in $1" >&2
  return 1
}

# is_clean: there is nothing more to remove.
is_clean() {
  local said
  said=$(run cleanup) || return
  [[ $said == 'nothing to clean up' ]] || {
    echo "$said" >&2
    return 1
  }
}

# finished: the background capture can be copied. It tries until it can, for two minutes.
finished() {
  local try
  for try in {1..24}; do
    run copy --output-dir="$work/background" && return
    echo "not yet ($try)"
    sleep "${SMOKE_PAUSE:-5}"
  done
  return 1
}

step 'version' "$netobserv" version
step 'nothing is there before' is_clean
if ((failures)); then
  echo "$failures failed: the cluster cannot be reached, or something is there already"
  exit "$failures"
fi
started=true
# Demands that every cluster meets: something is answered, the addresses are for documents only, and there are no fewer drops than none.
step 'flows' run flows --enable_pkt_drop --max-time="$time" --output-dir="$work/flows" \
  --expect='any -> any' --forbid='192.0.2.1 -> 198.51.100.1' --fail-on='drops<0'
step 'flows: JSON' has flows json
step 'flows: SQLite' has flows db
step 'flows: nothing is left' is_clean
step 'packets' run packets --protocol=TCP --max-time="$time" --output-dir="$work/packets"
step 'packets: pcapng' has packets pcapng
step 'packets: nothing is left' is_clean
step 'background: start' run flows --background --max-time="$time"
step 'background: stop' run stop
step 'background: copy' finished
step 'background: JSON' has background json
step 'cleanup' run cleanup
step 'cleanup: nothing is left' is_clean
echo "$failures failed"
exit "$failures"
