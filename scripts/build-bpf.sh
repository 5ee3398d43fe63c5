#!/usr/bin/env bash
# Builds the kernel programs into ebpf/agent/bpf/netobserv.bpfel.o.
#
#   scripts/build-bpf.sh             build, and replace the object in the repository
#   scripts/build-bpf.sh --check     build into target/ and compare; exit 1 if the object in the repository is stale
#   scripts/build-bpf.sh --install   first install what is missing (Debian, Ubuntu; needs root)
#
# The compiler is Debian's rustc-web with its precompiled core for BPF: stable, no rust-src, no build-std.
# Elsewhere, BPF_RUSTC and BPF_CARGO name another compiler that has a core for bpfel-unknown-none.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

linker_version=0.10.4 # the last that links with rustc's own LLVM
packages=(rustc-web cargo-web libstd-rust-web-dev-bpf llvm)
object=ebpf/agent/bpf/netobserv.bpfel.o
rustc=${BPF_RUSTC:-/usr/bin/rustc}
cargo=${BPF_CARGO:-/usr/bin/cargo}

check=false
for arg in "$@"; do
    case $arg in
        --check) check=true ;;
        --install) install=true ;;
        *) echo "usage: $0 [--install] [--check]" >&2; exit 2 ;;
    esac
done

if ${install:-false}; then
    if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
        download apt-get update -qq
        download apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
    fi
    if ! bpf-linker --version 2>/dev/null | grep -qF "$linker_version"; then
        download cargo install --quiet --locked bpf-linker --version "$linker_version"
    fi
fi

missing=()
[ -x "$rustc" ] || missing+=("$rustc")
[ -x "$cargo" ] || missing+=("$cargo")
for tool in bpf-linker llvm-strip; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
    echo "error: no BPF toolchain (missing: ${missing[*]}); run $0 --install" >&2
    exit 3
fi

sysroot=$("$rustc" --print sysroot)
core=("$sysroot"/lib/rustlib/bpfel-unknown-none/lib/libcore-*.rlib)
if [ ! -e "${core[0]}" ]; then
    echo "error: $rustc has no core library for bpfel-unknown-none; run $0 --install (Debian: libstd-rust-web-dev-bpf)," >&2
    echo "or name a compiler that has one in BPF_RUSTC and BPF_CARGO" >&2
    exit 3
fi
llvm=$("$rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
target_dir=$PWD/target/bpf
# bpf-linker takes the first libLLVM on LD_LIBRARY_PATH: give it a folder with rustc's own and no other.
mkdir -p "$target_dir/llvm"
libllvm=$(find "$sysroot/lib" /usr/lib -name "libLLVM.so.$llvm.*" 2>/dev/null | head -n 1)
[ -n "$libllvm" ] || { echo "error: libLLVM $llvm of $rustc not found" >&2; exit 3; }
ln -sf "$libllvm" "$target_dir/llvm/"

# Cargo names a crate after its path below the workspace, and after the whole path if it lies outside, as ../common does:
# so both are laid under one workspace, and the names are the same on every machine.
stage=$target_dir/stage
rm -rf "$stage"
mkdir -p "$stage"
cp -pr ebpf/kernel ebpf/common "$stage"
sed -n '/^\[profile/,/^$/p' ebpf/kernel/Cargo.toml >"$stage/Cargo.toml"
printf '[workspace]\nresolver = "3"\nmembers = ["kernel"]\nexclude = ["common"]\n' >>"$stage/Cargo.toml"
sed -i '/^\[profile/,$d' "$stage/kernel/Cargo.toml"
mv "$stage/kernel/Cargo.lock" "$stage/"

# Where the sources of the standard library are installed (rust-web-src), the compiler names them after their own folder, else
# after the one that the library was built in: the second name holds for both.
library=$(grep -aoEm 1 '/[[:graph:]]*/library/core/src/[a-z]+\.rs' "${core[0]}" | head -n 1 | sed 's,/library/core/.*,,')

# No path of this machine may reach the object: what is built elsewhere must be equal, byte for byte.
registry=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1)
flags=(
    -Ctarget-cpu=v3 -Cdebuginfo=2 -Clink-arg=--btf '--cfg=bpf_target_arch="x86_64"'
    "--remap-path-prefix=$stage=ebpf"
    "--remap-path-prefix=${registry:-none}=registry"
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=$library"
)
# RUSTC_BOOTSTRAP: aya-ebpf uses inline assembly, which is not stable for BPF.
encoded=$(printf '%s\x1f' "${flags[@]}")
env -u RUSTFLAGS -u RUSTC_WRAPPER -u RUSTUP_TOOLCHAIN -u CARGO_TARGET_DIR \
    RUSTC="$rustc" RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS="${encoded%$'\x1f'}" LD_LIBRARY_PATH="$target_dir/llvm" \
    "$cargo" build --quiet --locked --release --target bpfel-unknown-none \
    --manifest-path "$stage/Cargo.toml" --target-dir "$target_dir"

built=$target_dir/netobserv.bpfel.o
llvm-strip --strip-debug -o "$built" "$target_dir/bpfel-unknown-none/release/netobserv-ebpf"

# The same list and order as the test in ebpf/agent/src/kernel.rs.
sources_hash() {
    find ebpf/kernel/src ebpf/common/src ebpf/kernel/Cargo.toml ebpf/kernel/Cargo.lock -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}
compiler="$("$rustc" --version), LLVM $llvm, bpf-linker $linker_version"

if $check; then
    if cmp -s "$built" "$object"; then
        echo "$object is what its sources build to ($(stat -c %s "$object") bytes)"
    elif ! grep -qF "built-with $compiler" "$object.info"; then
        echo "$object was built by another compiler; a fresh build is in $built"
        echo "run the privileged tests against it: NETOBSERV_BPF_OBJECT=$built scripts/test.sh"
    else
        echo "error: $object is stale; run scripts/build-bpf.sh and commit the result" >&2
        exit 1
    fi
else
    mkdir -p "$(dirname "$object")"
    cp "$built" "$object"
    printf 'sources %s\nbuilt-with %s\n' "$(sources_hash)" "$compiler" >"$object.info"
    echo "wrote $object ($(stat -c %s "$object") bytes)"
fi
