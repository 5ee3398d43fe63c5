#!/usr/bin/env bash
# Half an hour of work without a break: a collector that takes 50,000 flows a second of a cluster of ten thousand pods, into JSON
# and SQLite, with names; and beside it a local capture, agent included, of real packets. In the end memory must have stayed
# where it was, nothing may be lost without being told, and the files must be whole.
#
#   scripts/soak.sh                        half an hour, optimised programs; needs 35 GB of disk meanwhile, and keeps nothing
#   scripts/soak.sh --seconds 60           shorter: the disk needed is less in proportion
#   scripts/soak.sh --rate 20000           flows a second
#   scripts/soak.sh --for-tests            with the programs that `cargo build` makes
#
# Ctrl-C ends it early, with the same account. Where kernel programs cannot be loaded it says so and goes without the agent.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

words=() for_tests=false
while (($#)); do
  case $1 in
    --seconds | --rate)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "$1 needs a number"
      words+=("$1" "$2")
      shift
      ;;
    --for-tests) for_tests=true ;;
    *)
      echo "usage: $0 [--for-tests] [--seconds N] [--rate N]" >&2
      exit 2
      ;;
  esac
  shift
done

need_rust
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
if ((EUID != 0)) && $can_be_root; then export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/as-root.sh"; fi
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
folder=$(cd "$(mktemp -d "$target/soak.XXXXXX")" && pwd)
child=''
clean_up() {
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill -INT -- "-$child" 2>/dev/null || true
    wait "$child" || true
  fi
  "${as_root[@]}" rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

heading 'Building'
if $for_tests; then
  cargo build --workspace --locked --bins
  run=(cargo test --workspace --locked --bench soak)
  export NETOBSERV_BIN_DIR=$PWD/$target/debug
else
  cargo build --release --locked --workspace --bins
  run=(cargo bench --workspace --locked --bench soak)
  export NETOBSERV_BIN_DIR=$PWD/$target/release
fi
heading 'Soak'
# In a group of its own, so that whatever ends this script ends all of it, and the account is still given.
set -m
"${run[@]}" -- --folder "$folder" "${words[@]}" </dev/null &
child=$!
set +m
wait "$child"
