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
. scripts/targets.sh

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

version=$(project_version)
output=${output:-target/images/netobserv-cli-$version.oci.tar}

# build ARCH: both programs.
build() {
  build_static "$(rust_target "$1")" "$(compiler "$1")" -p netobserv-agent -p netobserv-collector --bins
}

# build_for_tests: both programs of the dev profile, for this machine. All of the workspace is asked for, so that what
# `cargo build --workspace` compiled of other people's libraries, with the same features, fits here too.
build_for_tests() {
  RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/static-programs.sh \
    cargo build --workspace --locked --bin netobserv-agent --bin netobserv-collector
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
for program in "${programs[@]}"; do
  for name in netobserv-collector netobserv-agent; do no_interpreter "${program#*=}/$name"; done
done

# The time and the name of the commit, so that the same commit gives the same bytes.
source_date
revision=''
if git diff --quiet HEAD 2>/dev/null; then revision=$(git rev-parse HEAD 2>/dev/null || true); fi
mkdir -p "$(dirname "$output")"
python3 scripts/oci-image.py --name "$repository:$version" --revision "$revision" --output "$output" "${programs[@]}"
