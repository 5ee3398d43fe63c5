# shellcheck shell=bash
# What the scripts of this folder share: words on the terminal, packages, root. Sourced, never run.

if [[ -t 1 && -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' plain=''
fi

heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
good() { printf '%s%s%s\n' "$green" "$*" "$plain"; }
bad() { printf '%s%s%s\n' "$red" "$*" "$plain" >&2; }
die() {
  bad "error: $*"
  exit 1
}

# The version of everything that is built here; it stands once, in Cargo.toml.
project_version() { sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

# The time that files of a package carry: that of the commit, so that the same commit gives the same bytes.
source_date() {
  if [[ -z ${SOURCE_DATE_EPOCH-} ]]; then SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0); fi
  export SOURCE_DATE_EPOCH
}

# "${as_root[@]}" in front of a command runs it as root; can_be_root says whether that works without a question.
as_root=()
can_be_root=true
if ((EUID != 0)); then
  as_root=(sudo -n)
  sudo -n true 2>/dev/null || can_be_root=false
fi

# With a terminal, sudo may ask for the password once, at the beginning.
ask_for_root() {
  if ! $can_be_root && [[ -t 0 ]] && command -v sudo >/dev/null; then
    if sudo -v; then can_be_root=true; fi
  fi
}

# need COMMAND PACKAGE: remembers a package to install. sbin is where a user's PATH does not look.
missing_packages=()
need() {
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing_packages+=("$2")
}

# download COMMAND...: tries three times, because registries fail for a moment now and then.
download() {
  local pause
  for pause in 5 20; do
    "$@" && return
    note "failed, once more in $pause s: $*"
    sleep "$pause"
  done
  "$@"
}

# apt_install PACKAGE...: Debian and Ubuntu.
apt_install() {
  (($#)) || return 0
  command -v apt-get >/dev/null || die "please install these by hand, there is no apt-get here: $*"
  $can_be_root || die "please install these as root: apt-get install $*"
  note "installing $*"
  download "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  download "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# apt_has PACKAGE: whether the machine's sources offer it. A fresh machine has not read them yet.
apt_has() {
  command -v apt-cache >/dev/null || return 1
  apt-cache show "$1" >/dev/null 2>&1 && return 0
  download "${as_root[@]}" apt-get update -qq >/dev/null 2>&1 && apt-cache show "$1" >/dev/null 2>&1
}

# A Rust compiler that is new enough, with a C compiler and linker beside it.
need_rust() {
  PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  command -v cargo >/dev/null || die 'there is no cargo here: install Rust with rustup (https://rustup.rs) first'
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d' ' -f2)
  if [[ $(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
    die "Rust $wanted is needed and this is $found: run 'rustup update stable'"
  fi
  need cc gcc
  need ld binutils
  [[ -e /usr/include/stdio.h ]] || missing_packages+=(libc6-dev)
}

# The kernel's own description of its types, without which no program of ours loads.
has_btf() { [[ -r /sys/kernel/btf/vmlinux ]]; }

# The first `ip netns add` of a machine leaves a mount behind: remember whether it was there, and take it away at the end.
netns_mounted=$(grep -c ' /run/netns ' /proc/self/mountinfo || true)
restore_netns_mount() {
  if ((netns_mounted == 0)) && [[ -d /run/netns && -z $(ls -A /run/netns) ]]; then
    while "${as_root[@]}" umount /run/netns 2>/dev/null; do :; done
    "${as_root[@]}" rmdir /run/netns 2>/dev/null || true
  fi
}
