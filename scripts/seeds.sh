#!/usr/bin/env bash
# Runs the end-to-end tests with several seeds: number of nodes, ports, amounts and the moments of faults differ. A failed test
# prints its seed; NETOBSERV_TEST_SEED=THAT with the same test does it again.
#
#   scripts/seeds.sh [N] [TEST...]    10 seeds by default; TEST is a part of a test's name, all by default
#   NETOBSERV_TEST_SEED=FIRST         begins there, instead of anywhere
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

number=${1:-10}
[[ $number =~ ^[0-9]+$ ]] || die "usage: $0 [N] [TEST...]"
shift || true
first=${NETOBSERV_TEST_SEED:-$((RANDOM * 10))}
export NETOBSERV_REQUIRE_PRIVILEGED=1
log=$(mktemp)
images=$(mktemp -d)
trap 'rm -rf "$log" "$images"' EXIT
if [[ -z ${NETOBSERV_IMAGE-} ]]; then
  export NETOBSERV_IMAGE=$images/tested.oci.tar
  scripts/build-images.sh --for-tests --output "$NETOBSERV_IMAGE" >"$log" 2>&1 || { cat "$log" >&2; die 'the image was not built'; }
fi
failed=()
for ((seed = first; seed < first + number; seed++)); do
  start=$SECONDS
  if NETOBSERV_TEST_SEED=$seed cargo test --workspace --locked --no-fail-fast --test 'cluster_*' -- --test-threads=2 "$@" >"$log" 2>&1; then
    count=$(awk '/^test result: / { n += $4 } END { print n + 0 }' "$log")
    good "seed $seed: $count passed, $((SECONDS - start)) s"
  else
    failed+=("$seed")
    sed -n '/^failures:/,$p' "$log" >&2
    bad "seed $seed: failed after $((SECONDS - start)) s"
  fi
done
((${#failed[@]} == 0)) || die "seeds that failed: ${failed[*]}"
good "$number seeds passed"
