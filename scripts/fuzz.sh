#!/usr/bin/env bash
# Feeds every parser of foreign bytes with inputs that libFuzzer invents: a minute each, or as told. Fails when one falls over,
# takes more than a gibibyte, or more than ten seconds for one input; the input is then kept in fuzz/artifacts/TARGET.
#
#   scripts/fuzz.sh                           all targets
#   scripts/fuzz.sh --seconds 10 dns query    these, ten seconds each
#   scripts/fuzz.sh --list                    their names
#   scripts/fuzz.sh --keep                    keeps inputs that reach new code in fuzz/corpus, as few as do it
#
# Stable Rust, no cargo-fuzz: what that adds to the compiler's flags stands below. Installs what is missing (Debian, Ubuntu).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

seconds=60 keep=false targets=()
mapfile -t all < <(cd fuzz/corpus && printf '%s\n' *)
while (($#)); do
  case $1 in
    --seconds)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die '--seconds needs a number'
      seconds=$2
      shift
      ;;
    --keep) keep=true ;;
    --list)
      printf '%s\n' "${all[@]}"
      exit
      ;;
    -*)
      echo "usage: $0 [--list] [--keep] [--seconds N] [TARGET...]" >&2
      exit 2
      ;;
    *)
      [[ " ${all[*]} " == *" $1 "* ]] || die "there is no target $1: use one of ${all[*]}"
      targets+=("$1")
      ;;
  esac
  shift
done
((${#targets[@]})) || targets=("${all[@]}")

need_rust
need c++ g++
apt_install "${missing_packages[@]}"

host=$(rustc -vV | sed -n 's/^host: //p')
# What makes libFuzzer see which code an input reaches (clang's SanitizerCoverage); with --target, build scripts stay as they are.
flags=(--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1)
for option in level=4 inline-8bit-counters pc-table trace-compares; do flags+=("-Cllvm-args=-sanitizer-coverage-$option"); done
heading 'Building'
# The versions of the workspace; libFuzzer's wrapper is added to them.
cp Cargo.lock fuzz/Cargo.lock
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}" | sed 's/\x1f$//') \
  cargo build --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --target "$host" --release

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# fuzz TARGET: new inputs go to a scratch folder; the repository's are read.
fuzz() {
  local target=$1 corpus=fuzz/corpus/$1 found=$scratch/$1 artifacts=fuzz/artifacts/$1 log=$scratch/$1.log
  local program=target/fuzz/$host/release/netobserv-fuzz
  export FUZZ_TARGET=$target
  mkdir -p "$corpus" "$found" "$artifacts"
  local words=("-max_total_time=$seconds" -rss_limit_mb=1024 -timeout=10 -max_len=16384 -print_final_stats=1 "-artifact_prefix=$artifacts/")
  if [[ -e fuzz/dictionaries/$target ]]; then words+=("-dict=fuzz/dictionaries/$target"); fi
  if ! "$program" "${words[@]}" "$found" "$corpus" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    bad "$target fell over; the input is in $artifacts"
    return 1
  fi
  rmdir "$artifacts" 2>/dev/null || true
  local runs peak reached
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  reached=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  good "$target: $runs inputs, ${reached:-cov: ?}, $peak MB at most"
  if $keep; then
    mkdir -p "$scratch/small"
    "$program" -merge=1 -max_len=2048 "$scratch/small" "$corpus" "$found" >/dev/null 2>&1
    rm -rf "$corpus"
    mv "$scratch/small" "$corpus"
  fi
}

status=0
for target in "${targets[@]}"; do
  heading "$target, $seconds s"
  fuzz "$target" || status=1
done
rmdir fuzz/artifacts 2>/dev/null || true
exit "$status"
