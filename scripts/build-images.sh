#!/usr/bin/env bash
# Builds the container image: one static collector, one static agent, nothing else. No container engine is needed.
#
#   scripts/build-images.sh                     for this machine's architecture and each other one that can be built here
#   scripts/build-images.sh --arch amd64        for these only (repeat it); one that cannot be built is an error then
#   scripts/build-images.sh --install           first install cross compilers (Debian, Ubuntu; rustup)
#   scripts/build-images.sh --bin-dir DIR       pack DIR/netobserv-collector and DIR/netobserv-agent, build nothing
#   scripts/build-images.sh --for-tests         link what `cargo build` compiled: minutes sooner, slower programs, no release
#   scripts/build-images.sh --output FILE       instead of target/images/netobserv-cli-<version>.oci.tar
#
# The result is an OCI archive that podman, skopeo, buildah, crane, ctr and docker read:
#   skopeo copy --all oci-archive:FILE docker://ghcr.io/netobserv-rs/netobserv-cli:<version>
# The same sources, compiler and linker give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

known=(amd64 arm64 ppc64le)
repository=ghcr.io/netobserv-rs/netobserv-cli
archs=() bin_dir='' output='' install=false for_tests=false
while (($#)); do
  case $1 in
    --arch | --bin-dir | --output)
      [[ -n ${2-} ]] || die "$1 needs a value"
      case $1 in
        --arch) archs+=("$2") ;;
        --bin-dir) bin_dir=$2 ;;
        --output) output=$2 ;;
      esac
      shift
      ;;
    --install) install=true ;;
    --for-tests) for_tests=true ;;
    *)
      echo "usage: $0 [--install] [--for-tests] [--arch ARCH]... [--bin-dir DIR] [--output FILE]" >&2
      exit 2
      ;;
  esac
  shift
done

case $(uname -m) in
  x86_64) native=amd64 ;;
  aarch64) native=arm64 ;;
  *) native=$(uname -m) ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
output=${output:-target/images/netobserv-cli-$version.oci.tar}

# Rust's and GNU's names of an architecture.
rust_target() { echo "$(gnu_name "$1")-unknown-linux-gnu"; }
gnu_name() {
  case $1 in
    amd64) echo x86_64 ;;
    arm64) echo aarch64 ;;
    ppc64le) echo powerpc64le ;;
    s390x) die 's390x: the kernel programs are built for little-endian machines only' ;;
    *) die "$1: not one of ${known[*]}" ;;
  esac
}
compiler() { if [[ $1 == "$native" ]]; then echo cc; else echo "$(gnu_name "$1")-linux-gnu-gcc"; fi; }
cross_packages() {
  case $1 in
    amd64) echo gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    arm64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    ppc64le) echo gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross ;;
  esac
}

# why_not ARCH: what is missing to build for it; nothing when it can be built.
why_not() {
  local target compiler
  target=$(rust_target "$1")
  compiler=$(compiler "$1")
  if ! command -v "$compiler" >/dev/null; then
    echo "no $compiler (Debian: $(cross_packages "$1"))"
  elif [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target/lib ]]; then
    echo "no Rust library for $target (rustup target add $target)"
  fi
}

install_cross() {
  local arch packages=()
  for arch in "$@"; do
    if [[ $arch != "$native" ]]; then
      read -ra packages <<<"$(cross_packages "$arch")"
      command -v "$(compiler "$arch")" >/dev/null || apt_install "${packages[@]}"
    fi
    if command -v rustup >/dev/null; then rustup target add "$(rust_target "$arch")"; fi
  done
}

# build ARCH: both programs, static, with no path of this machine in them.
build() {
  local target upper cargo_home=${CARGO_HOME:-$HOME/.cargo} flags encoded
  target=$(rust_target "$1")
  upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
  flags=(-Ctarget-feature=+crt-static "--remap-path-prefix=$PWD=/source" "--remap-path-prefix=$cargo_home=/cargo")
  encoded=$(printf '%s\x1f' "${flags[@]}")
  env "CARGO_ENCODED_RUSTFLAGS=${encoded%$'\x1f'}" \
    "CFLAGS=-ffile-prefix-map=$PWD=/source -ffile-prefix-map=$cargo_home=/cargo" \
    "CARGO_TARGET_${upper}_LINKER=$(compiler "$1")" "CC_${target//-/_}=$(compiler "$1")" \
    cargo build --release --locked --target "$target" -p netobserv-agent -p netobserv-collector --bins
}

# build_for_tests: both programs of the dev profile, for this machine. All of the workspace is asked for, so that what
# `cargo build --workspace` compiled of other people's libraries, with the same features, fits here too.
build_for_tests() {
  RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/static-programs.sh \
    cargo build --workspace --locked --bin netobserv-agent --bin netobserv-collector
}

# no_interpreter FILE: it runs where there is no other file. The header of the program's parts says so.
no_interpreter() {
  if ! LC_ALL=C readelf -lW "$1" | grep -q INTERP; then return 0; fi
  die "$1 is not static: it names an interpreter"
}

if $install; then
  need_rust
  need python3 python3
  apt_install "${missing_packages[@]}"
fi
command -v python3 >/dev/null || die 'python3 packs the image: please install it'
programs=()
if [[ -n $bin_dir ]]; then
  ((${#archs[@]} <= 1)) || die '--bin-dir holds the programs of one --arch'
  programs+=("${archs[0]:-$native}=$bin_dir")
elif $for_tests; then
  [[ ${archs[*]:-$native} == "$native" ]] || die '--for-tests is for the architecture of this machine'
  need_rust
  build_for_tests
  programs+=("$native=${CARGO_TARGET_DIR:-target}/debug")
else
  need_rust
  chosen=("${archs[@]}")
  if ((${#chosen[@]} == 0)); then
    chosen=("$native")
    for arch in amd64 arm64; do [[ $arch == "$native" ]] || chosen+=("$arch"); done
  fi
  for arch in "${chosen[@]}"; do gnu_name "$arch" >/dev/null; done
  if $install; then install_cross "${chosen[@]}"; fi
  for arch in "${chosen[@]}"; do
    missing=$(why_not "$arch")
    if [[ -n $missing ]]; then
      if ((${#archs[@]})) || [[ $arch == "$native" ]]; then die "cannot build for $arch: $missing"; fi
      note "SKIPPED: image for $arch: $missing"
      continue
    fi
    note "building for $arch"
    build "$arch"
    programs+=("$arch=target/$(rust_target "$arch")/release")
  done
fi
if command -v readelf >/dev/null; then
  for program in "${programs[@]}"; do
    for name in netobserv-collector netobserv-agent; do no_interpreter "${program#*=}/$name"; done
  done
fi

# The time and the name of the commit, so that the same commit gives the same bytes.
if [[ -z ${SOURCE_DATE_EPOCH-} ]]; then SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0); fi
revision=''
if git diff --quiet HEAD 2>/dev/null; then revision=$(git rev-parse HEAD 2>/dev/null || true); fi
export SOURCE_DATE_EPOCH
mkdir -p "$(dirname "$output")"
python3 scripts/oci-image.py --name "$repository:$version" --revision "$revision" --output "$output" "${programs[@]}"
