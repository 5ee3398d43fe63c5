#!/usr/bin/env bash
# All tests and checks of the repository, on a Debian or Ubuntu machine with Rust by rustup.
#
#   scripts/test.sh                installs what is missing, then runs everything
#   scripts/test.sh --no-install   with what is there; what is missing is skipped and said
#
# Other scripts do more than CI has time for: scripts/fuzz.sh (parsers), scripts/soak.sh (half an hour of load), scripts/smoke.sh
# (a real cluster).
#
# Tests that load kernel programs need root (or sudo); without it they say that they were skipped. With CI=true a skip is
# a failure. The last line is "N passed, M failed, K skipped"; a check that fails counts as one failed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

install=true
for arg in "$@"; do
  case $arg in
    --no-install) install=false ;;
    *)
      echo "usage: $0 [--no-install]" >&2
      exit 2
      ;;
  esac
done

# What is made here, and by tests, lies in one folder and knows whose it is: see scripts/check-left-behind.sh.
export NETOBSERV_TEST_RUN=$$
TMPDIR=$(mktemp -d "/tmp/netobserv-run.$$.XXXX")
chmod 711 "$TMPDIR"
export TMPDIR
log=$(mktemp)
image_dir='' package_dir=''
child=''
passed=0 failed=0 skipped=0 unsteady=()

end_step() {
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null || return 0
    for _ in {1..50}; do
      kill -0 -- "-$child" 2>/dev/null || return 0
      sleep 0.1
    done
    kill -KILL -- "-$child" 2>/dev/null || true
  fi
}

clean_up() {
  trap '' INT TERM HUP
  end_step
  scripts/check-left-behind.sh --remove >/dev/null
  restore_netns_mount
  rm -rf --one-file-system "$TMPDIR" 2>/dev/null || "${as_root[@]}" rm -rf --one-file-system "$TMPDIR"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step NAME COMMAND...: runs it in a process group of its own, so that an interrupted script can end all of it.
step() {
  local name=$1 status=0 start=$SECONDS
  shift
  heading "$name"
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || status=$?
  end_step
  child=''
  if ((status)); then
    bad "$name: failed with exit code $status after $((SECONDS - start)) s"
    return "$status"
  fi
  good "$name: good, $((SECONDS - start)) s"
}

# A check counts only when it fails: the summary is about tests.
check() { step "$@" || failed=$((failed + 1)); }

skip() {
  note "SKIPPED: $1: $2"
  skipped=$((skipped + 1))
  if [[ ${CI-} == true ]]; then
    bad "$1 must not be skipped with CI=true"
    failed=$((failed + 1))
  fi
}

install_tools() {
  need_rust
  need ip iproute2
  need ping iputils-ping
  need dig bind9-dnsutils
  need dnsmasq dnsmasq-base
  need nft nftables
  need tshark tshark
  need tcpdump tcpdump
  need python3 python3
  need shellcheck shellcheck
  need kill procps
  need runc runc
  need openssl openssl
  need sqlite3 sqlite3
  need rpmbuild rpm
  need curl curl
  need zsh zsh
  need fish fish
  # The report is tested in a browser.
  command -v google-chrome >/dev/null || need chromium chromium
  python3 -c 'import yaml' 2>/dev/null || missing_packages+=(python3-yaml)
  if $install; then
    apt_install "${missing_packages[@]}"
    if command -v rustup >/dev/null; then
      cargo fmt --version >/dev/null 2>&1 || download rustup component add rustfmt
      cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
    fi
    # Checks manifests against the schemas that the Kubernetes project publishes.
    # check-jsonschema knows the schema of workflows. duckdb reads what is exported, prometheus_client what is served.
    if [[ ! -x target/python/bin/kubernetes-validate || ! -x target/python/bin/check-jsonschema ]] ||
      ! target/python/bin/python3 -c 'import duckdb, prometheus_client' 2>/dev/null; then
      python_tools='kubernetes-validate check-jsonschema duckdb prometheus-client'
      # shellcheck disable=SC2086
      { python3 -m venv target/python && download target/python/bin/pip install --quiet $python_tools; } ||
        note "not all of $python_tools could be installed: their tests will report that they were skipped"
    fi
    unpack_registry
    install_machete
  elif ((${#missing_packages[@]})); then
    note "missing, and not installed because of --no-install: ${missing_packages[*]}"
  fi
}

# The registry of the air-gap test, without the service that installing its package would start.
PATH=$PATH:$PWD/target/registry/usr/bin
unpack_registry() {
  command -v docker-registry >/dev/null && return
  if apt_has docker-registry; then
    mkdir -p target/registry
    rm -f target/registry/*.deb
    { (cd target/registry && download apt-get download -qq docker-registry) && dpkg-deb -x target/registry/*.deb target/registry; } ||
      note 'docker-registry could not be unpacked: its test will say that it was skipped'
  fi
}

# Small enough to be compiled here; cargo-deny, which check-crates.py stands in for, takes minutes.
machete=target/tools/bin/cargo-machete
install_machete() {
  [[ -x $machete ]] && return
  download cargo install --quiet --locked --root target/tools --version 0.9.2 cargo-machete ||
    note 'cargo-machete could not be installed: unused dependencies will be skipped'
}

check_format() {
  cargo fmt --all --check &&
    rustfmt --check --edition 2024 ebpf/kernel/src/main.rs
}

bpf_packages=(rustc-web cargo-web libstd-rust-web-dev-bpf llvm)
check_bpf() {
  if $install && $can_be_root && apt_has libstd-rust-web-dev-bpf; then
    if ! dpkg -s "${bpf_packages[@]}" >/dev/null 2>&1; then apt_install "${bpf_packages[@]}"; fi
    check 'kernel programs are built from their sources' scripts/build-bpf.sh --install --check
  elif command -v bpf-linker >/dev/null && dpkg -s "${bpf_packages[@]}" >/dev/null 2>&1; then
    check 'kernel programs are built from their sources' scripts/build-bpf.sh --check
  else
    skip 'rebuild of the kernel programs' "needs the packages ${bpf_packages[*]} (Debian 12 and later) and bpf-linker"
  fi
}

run_tests() {
  if ((EUID != 0)) && $can_be_root; then
    local host
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/as-root.sh"
  fi
  if [[ ${CI-} == true ]]; then export NETOBSERV_REQUIRE_PRIVILEGED=1; fi
  timeout --foreground --kill-after=30 3600 cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log"
}

# More failures than this are not a matter of a busy machine.
most_unsteady=5

failed_tests() { sed -n 's/^test \([^ ]*\) [.]\{3\} FAILED$/\1/p' "$log" | sort -u; }

# Runs the tests that failed once more, one at a time. Succeeds when all pass.
run_failed_again() {
  local names targets target words status=0
  mapfile -t names < <(failed_tests)
  mapfile -t targets < <(sed -n 's/^    .-p [^ ]* \(.*\).$/\1/p' "$log")
  ((${#names[@]} > 0 && ${#names[@]} <= most_unsteady)) || return 1
  # A test program that crashed or was ended has no result.
  (($(grep -c '^test result: FAILED' "$log") == ${#targets[@]})) || return 1
  for target in "${targets[@]}"; do
    read -ra words <<<"$target"
    timeout --foreground --kill-after=30 900 \
      cargo test --workspace --locked "${words[@]}" -- --exact --test-threads=1 "${names[@]}" || status=1
  done
  return "$status"
}

# Sums the "test result:" lines of all test programs. A skipped privileged test passes for libtest: it is moved over.
count_tests() {
  local lines test_passed test_failed ignored said
  lines=$(grep -E '^test result: ' "$log" || true)
  test_passed=$(awk '{ n += $4 } END { print n + 0 }' <<<"$lines")
  test_failed=$(awk '{ n += $6 } END { print n + 0 }' <<<"$lines")
  ignored=$(awk '{ n += $8 } END { print n + 0 }' <<<"$lines")
  said=$(grep -c 'SKIPPED: ' "$log" || true)
  passed=$((passed + test_passed - said))
  failed=$((failed + test_failed))
  skipped=$((skipped + ignored + said))
}

summary() {
  if ((failed)) && [[ -s $log ]]; then
    grep -E '^(test .* [.]{3} FAILED|error: test failed|error: could not compile)' "$log" | sort -u >&2 || true
  fi
  ((${#unsteady[@]})) && printf 'unsteady, passed when run again: %s\n' "${unsteady[@]}"
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
}

ask_for_root
# Of runs that were killed themselves.
scripts/check-left-behind.sh --remove
scripts/check-left-behind.sh --note "$TMPDIR/before"
install_tools
check 'build' cargo build --workspace --locked
check 'format' check_format
check 'clippy' cargo clippy --workspace --all-targets --locked -- -D warnings
if command -v shellcheck >/dev/null; then
  check 'shellcheck' shellcheck -x scripts/*.sh .ci/run tests/cli_world/fake-*
else
  skip 'shellcheck' 'not installed'
fi
check 'crates: licences, sources, advisories' scripts/check-crates.py
if [[ -x $machete ]]; then
  # Each by itself: it takes no member of a workspace for a dependency of another.
  check 'unused dependencies' "$machete" --with-metadata
else
  skip 'unused dependencies' 'cargo-machete is not installed'
fi
check 'public documents' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
check_bpf

check 'documents' scripts/check-docs.py "${CARGO_TARGET_DIR:-target}/debug/oc-netobserv"
if [[ -x target/python/bin/check-jsonschema ]]; then
  check 'workflows' target/python/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
else
  skip 'workflows' 'check-jsonschema is not installed'
fi

# The tests of the image start what is built here. Without it they say that they were skipped.
if command -v python3 >/dev/null; then
  image_dir=$(mktemp -d)
  export NETOBSERV_IMAGE=$image_dir/tested.oci.tar
  check 'image' scripts/build-images.sh --for-tests --output "$NETOBSERV_IMAGE"
fi

# What people install, and what they take to a network without a way out.
package_dir=$(mktemp -d)
plugin=${CARGO_TARGET_DIR:-target}/debug/oc-netobserv
check 'packages' scripts/package.sh --for-tests --output "$package_dir/packages"
check 'ways to install' scripts/test-install.sh "$plugin" "$package_dir/packages"
if [[ -n ${NETOBSERV_IMAGE-} ]]; then
  check 'last steps of a release' scripts/release.sh finish "$package_dir/packages" "$NETOBSERV_IMAGE"
fi
if command -v docker-registry >/dev/null; then
  check 'air gap' scripts/test-airgap.sh "$plugin" "$package_dir/packages" ${NETOBSERV_IMAGE:+"$NETOBSERV_IMAGE"}
elif apt_has docker-registry; then
  skip 'air gap' 'docker-registry is not installed'
else
  note 'SKIPPED: air gap: this distribution has no docker-registry'
  skipped=$((skipped + 1))
fi

# What `scripts/soak.sh` does for half an hour, and with kernel programs only where they can be loaded.
check 'soak, a minute' scripts/soak.sh --for-tests --seconds 60

tests_ended=0
step 'tests' run_tests || tests_ended=$?
count_tests
if ((tests_ended)) && step 'tests that failed, once more' run_failed_again; then
  mapfile -t unsteady < <(failed_tests)
  tests_ended=0 failed=$((failed - ${#unsteady[@]})) passed=$((passed + ${#unsteady[@]}))
fi
# A test program that does not compile, crashes or hangs has no line of its own to be counted.
if ((tests_ended && failed == 0)); then failed=1; fi
if $can_be_root && has_btf && command -v tshark >/dev/null; then
  check 'interrupted runs leave nothing behind' scripts/test-interrupted.sh
else
  skip 'interrupted runs' 'needs root, kernel BTF and tshark'
fi
check 'nothing is left behind' scripts/check-left-behind.sh --since "$TMPDIR/before"
heading "all of it: $((SECONDS / 60)) min $((SECONDS % 60)) s"
summary
((failed == 0))
