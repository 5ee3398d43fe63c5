# shellcheck shell=bash
# Which machines programs can be built for here, and by what. Sourced after lib.sh by the scripts that build for others.

case $(uname -m) in
  x86_64) native=amd64 ;;
  aarch64 | arm64) native=arm64 ;;
  *) native=$(uname -m) ;;
esac
known=(amd64 arm64 ppc64le)

# Rust's and GNU's names of an architecture of Linux.
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

# has_library RUST_TARGET: whether the compiler can make programs for it.
has_library() { [[ -d $(rustc --print sysroot)/lib/rustlib/$1/lib ]]; }

# why_not ARCH: what is missing to build for Linux on it; nothing when it can be built.
why_not() {
  local target compiler
  target=$(rust_target "$1")
  compiler=$(compiler "$1")
  if ! command -v "$compiler" >/dev/null; then
    echo "no $compiler (Debian: $(cross_packages "$1"))"
  elif ! has_library "$target"; then
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

# build_static RUST_TARGET COMPILER WORDS...: cargo, for programs with no path of this machine and no time of the build in them (C code
# may ask for __TIME__, which compilers take from SOURCE_DATE_EPOCH; a constant, as what was compiled for another commit is used
# again); those for Linux are static, so that they run on every distribution.
build_static() {
  local target=$1 compiler=$2 upper cargo_home=${CARGO_HOME:-$HOME/.cargo} flags encoded
  shift 2
  upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
  flags=("--remap-path-prefix=$PWD=/source" "--remap-path-prefix=$cargo_home=/cargo")
  if [[ $target == *-linux-* ]]; then flags+=(-Ctarget-feature=+crt-static); fi
  encoded=$(printf '%s\x1f' "${flags[@]}")
  env SOURCE_DATE_EPOCH=0 "CARGO_ENCODED_RUSTFLAGS=${encoded%$'\x1f'}" \
    "CFLAGS=-ffile-prefix-map=$PWD=/source -ffile-prefix-map=$cargo_home=/cargo" \
    "CARGO_TARGET_${upper}_LINKER=$compiler" "CC_${target//-/_}=$compiler" \
    cargo build --release --locked --target "$target" "$@"
}

# no_interpreter FILE: it runs where there is no other file. The header of the program's parts says so.
no_interpreter() {
  if ! command -v readelf >/dev/null || ! LC_ALL=C readelf -lW "$1" | grep -q INTERP; then return 0; fi
  die "$1 is not static: it names an interpreter"
}
