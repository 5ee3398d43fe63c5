#!/usr/bin/env bash
# Packs the plugin: tarballs, Debian and RPM packages, a list of what is in them (SBOM), and checksums.
#
#   scripts/package.sh                       for this machine, and each other target that can be built here
#   scripts/package.sh --target linux-amd64  for these only (repeat it); one that cannot be built is an error then
#   scripts/package.sh --install             first install compilers and rpm (Debian, Ubuntu; rustup)
#   scripts/package.sh --bin FILE            pack FILE as the plugin of this machine or of --target, build nothing
#   scripts/package.sh --for-tests           pack what `cargo build` compiled: minutes sooner, no release
#   scripts/package.sh --sums                only write SHA256SUMS for what is in the folder
#   scripts/package.sh --output DIR          instead of target/packages
#
# Targets: linux-amd64 linux-arm64 linux-ppc64le darwin-amd64 darwin-arm64 windows-amd64. netobserv-<target>.tar.gz (.zip for
# Windows) holds build/oc-netobserv, build/kubectl-netobserv, LICENSE, completions and manual pages. The same programs
# give the same bytes; the version is that of Cargo.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/targets.sh
. scripts/system-packages.sh

targets=() bin='' output=target/packages install=false for_tests=false sums_only=false
while (($#)); do
  case $1 in
    --target | --bin | --output)
      [[ -n ${2-} ]] || die "$1 needs a value"
      case $1 in
        --target) targets+=("$2") ;;
        --bin) bin=$2 ;;
        --output) output=$2 ;;
      esac
      shift
      ;;
    --install) install=true ;;
    --for-tests) for_tests=true ;;
    --sums) sums_only=true ;;
    *)
      echo "usage: $0 [--install] [--for-tests] [--sums] [--target OS-ARCH]... [--bin FILE] [--output DIR]" >&2
      exit 2
      ;;
  esac
  shift
done

version=$(project_version)
every=(linux-amd64 linux-arm64 linux-ppc64le darwin-amd64 darwin-arm64 windows-amd64)
case $(uname -s) in
  Linux) here=linux-$native ;;
  Darwin) here=darwin-$native ;;
  *) die "packages are made on Linux and macOS, not on $(uname -s)" ;;
esac

triple() {
  case $1 in
    linux-*) rust_target "${1#*-}" ;;
    darwin-amd64) echo x86_64-apple-darwin ;;
    darwin-arm64) echo aarch64-apple-darwin ;;
    windows-amd64) echo x86_64-pc-windows-gnu ;;
    *) die "$1: not one of ${every[*]}" ;;
  esac
}
linker() {
  case $1 in
    linux-*) if [[ $here == linux-* ]]; then compiler "${1#*-}"; else echo "$(gnu_name "${1#*-}")-linux-gnu-gcc"; fi ;;
    darwin-*) echo cc ;;
    windows-amd64) echo x86_64-w64-mingw32-gcc ;;
  esac
}
suffix() { if [[ $1 == windows-* ]]; then echo .exe; fi; }

# cannot TARGET: what is missing to build for it; nothing when it can be built.
cannot() {
  local target
  target=$(triple "$1")
  if [[ $1 == darwin-* && $here != darwin-* ]]; then
    echo 'programs for macOS are linked on macOS only'
  elif ! command -v "$(linker "$1")" >/dev/null; then
    echo "no $(linker "$1")"
  elif ! has_library "$target"; then
    echo "no Rust library for $target (rustup target add $target)"
  fi
}

# plugin TARGET: builds it, and prints its path.
plugin() {
  local target
  target=$(triple "$1")
  if [[ -n $bin ]]; then
    echo "$bin"
  elif $for_tests; then
    RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/static-programs.sh cargo build --workspace --locked --bin oc-netobserv >&2
    echo "${CARGO_TARGET_DIR:-target}/debug/oc-netobserv"
  else
    build_static "$target" "$(linker "$1")" -p oc-netobserv --bin oc-netobserv >&2
    echo "${CARGO_TARGET_DIR:-target}/$target/release/oc-netobserv$(suffix "$1")"
  fi
}

# texts PROGRAM DIR: completions and manual pages, which the program itself writes. They are the same for every target.
texts() {
  local command
  mkdir -p "$2"/{completions,man}
  "$1" completion bash >"$2/completions/oc-netobserv.bash"
  "$1" completion zsh >"$2/completions/_oc-netobserv"
  "$1" completion fish >"$2/completions/oc-netobserv.fish"
  "$1" man >"$2/man/oc-netobserv.1"
  while read -r command; do
    case $command in
      :* | help | completion | man | metrics) ;;
      *) "$1" man "$command" >"$2/man/oc-netobserv-$command.1" ;;
    esac
  done < <("$1" __complete '')
}

# tree PROGRAM TARGET DIR: the content of an archive. A copy under kubectl's name: krew and Windows take no links.
tree() {
  local end
  end=$(suffix "$2")
  mkdir -p "$3/build"
  cp "$1" "$3/build/oc-netobserv$end"
  chmod 755 "$3/build/oc-netobserv$end"
  cp "$3/build/oc-netobserv$end" "$3/build/kubectl-netobserv$end"
  cp LICENSE "$3/LICENSE"
  cp -R "$work/texts/." "$3/"
  if [[ $2 != windows-* ]]; then
    cat >"$3/build/kubectl_complete-netobserv" <<'SCRIPT'
#!/bin/sh
# What oc and kubectl ask when the Tab key is pressed behind "oc netobserv".
exec "$(dirname "$0")/oc-netobserv" __complete "$@"
SCRIPT
    chmod 755 "$3/build/kubectl_complete-netobserv"
  fi
}

# macOS has it under another name.
sha256=(sha256sum)
if ! command -v sha256sum >/dev/null; then sha256=(shasum -a 256); fi
sums() {
  (cd "$output" && find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' ! -name '*.yaml' | sed 's|^\./||' | LC_ALL=C sort |
    xargs "${sha256[@]}" >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
  note "$output/SHA256SUMS: $(wc -l <"$output/SHA256SUMS") files"
}

# pack TARGET PROGRAM
pack() {
  local folder=$work/$1 archive=$output/netobserv-$1
  mkdir "$folder"
  cp "$2" "$work/program"
  if $for_tests && command -v strip >/dev/null; then strip "$work/program"; fi
  tree "$work/program" "$1" "$folder"
  if [[ $1 == windows-* ]]; then archive+=.zip; else archive+=.tar.gz; fi
  python3 scripts/archive.py "$archive" "$folder"
  python3 scripts/sbom.py --package oc-netobserv --target "$(triple "$1")" --output "$output/netobserv-$1.cdx.json"
  note "$archive: $(wc -c <"$archive") bytes"
  if [[ $1 == linux-* ]]; then system_packages "$folder" "${1#*-}"; fi
}

mkdir -p "$output"
if $sums_only; then
  sums
  exit
fi

source_date
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if $install; then
  need_rust
  need python3 python3
  need rpmbuild rpm
  apt_install "${missing_packages[@]}"
fi
command -v python3 >/dev/null || die 'python3 packs the files: please install it'
if [[ -n $bin ]]; then
  ((${#targets[@]} <= 1)) || die '--bin is the program of one --target'
  [[ -f $bin ]] || die "$bin: there is no such file"
fi
chosen=("${targets[@]}")
if ((${#chosen[@]} == 0)); then
  chosen=("$here")
  if [[ -z $bin ]] && ! $for_tests; then
    for target in "${every[@]}"; do [[ $target == "$here" ]] || chosen+=("$target"); done
  fi
fi
if $for_tests; then [[ ${chosen[*]} == "$here" ]] || die "--for-tests is for this machine, $here"; fi
for target in "${chosen[@]}"; do
  triple "$target" >/dev/null
  if $install && [[ -z $bin && $target == linux-* && $here == linux-* ]]; then install_cross "${target#*-}"; fi
done
[[ -n $bin ]] || need_rust

# What can be built is built first; the program of this machine writes the texts.
programs=()
for target in "${chosen[@]}"; do
  if [[ -z $bin ]]; then
    missing=$(cannot "$target")
    if [[ -n $missing ]]; then
      if ((${#targets[@]})) || [[ $target == "$here" ]]; then die "cannot build for $target: $missing"; fi
      note "SKIPPED: package for $target: $missing"
      continue
    fi
    note "building for $target"
  fi
  built=$(plugin "$target")
  if [[ -z $bin && $target == linux-* ]]; then no_interpreter "$built"; fi
  programs+=("$target=$built")
done
writer=${programs[0]#*=}
if [[ ${programs[0]%%=*} != "$here" ]]; then
  cargo build --workspace --locked
  writer=${CARGO_TARGET_DIR:-target}/debug/oc-netobserv
fi
"$writer" version | grep -qxF "Netobserv CLI version $version" || die "$writer is not version $version of Cargo.toml: build it again"
texts "$writer" "$work/texts"
for program in "${programs[@]}"; do pack "${program%%=*}" "${program#*=}"; done
sums
