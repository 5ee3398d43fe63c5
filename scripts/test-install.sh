#!/usr/bin/env bash
# Follows every method of docs/install.md to install the plugin, each in an empty place, and removes it again. Called by test.sh.
#
#   scripts/test-install.sh PROGRAM [DIR]    with this program as the plugin; the packages stay in DIR
#
# "oc netobserv version" is asked through a program that finds plugins as oc and kubectl do: oc-netobserv or
# kubectl-netobserv in PATH. Where kubectl itself is installed, it is asked too.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/targets.sh

(($# >= 1)) || die "usage: $0 PROGRAM [DIR]"
program=$1
version=$(project_version)
line="Netobserv CLI version $version"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dir=${2:-$work/packages}
target=linux-$native
passed=0 skipped=0

ok() {
  passed=$((passed + 1))
  echo "ok: $1"
}
skip() {
  skipped=$((skipped + 1))
  note "SKIPPED: $1"
  if [[ ${CI-} == true ]]; then die "$1: must not be skipped with CI=true"; fi
}
# same WHAT WANTED FOUND
same() { [[ $2 == "$3" ]] || die "$1: expected '$2', got '$3'"; }
# empty WHAT FOLDER: nothing but folders is left.
empty() { same "$1" '' "$(find "$2" \( -type f -o -type l \) ! -path '*/var/lib/*' ! -path '*/var/log/*' ! -path '*/usr/lib/sysimage/*' -print 2>/dev/null | head)"; }

# Stands in for oc and kubectl: the longest name of words without dashes in front that is a program in PATH gets the rest.
mkdir -p "$work/fake"
cat >"$work/fake/oc" <<'SCRIPT'
#!/usr/bin/env bash
prefixes=(oc kubectl)
[[ ${0##*/} == kubectl ]] && prefixes=(kubectl)
words=()
for word in "$@"; do
  [[ $word == -* ]] && break
  words+=("${word//-/_}")
done
for ((n = ${#words[@]}; n > 0; n--)); do
  for prefix in "${prefixes[@]}"; do
    name=$(IFS=-; echo "$prefix-${words[*]:0:n}")
    if path=$(command -v "$name"); then exec "$path" "${@:n+1}"; fi
  done
done
echo "error: unknown command \"$1\"" >&2
exit 1
SCRIPT
chmod +x "$work/fake/oc"
ln -s oc "$work/fake/kubectl"

# asks WHAT BIN: the plugin in folder BIN answers oc, kubectl, and their completion.
asks() {
  local cli path=$work/fake:$2:/usr/bin:/bin
  cd "$work"
  for cli in oc kubectl; do
    if [[ -e $2/$cli-netobserv || $cli == oc ]]; then
      same "$1: $cli netobserv version" "$line" "$(PATH=$path "$cli" netobserv version)"
    fi
  done
  if [[ -x /usr/bin/kubectl ]]; then
    same "$1: the real kubectl" "$line" "$(PATH=$2:/usr/bin:/bin /usr/bin/kubectl netobserv version)"
  fi
  if [[ -e $2/kubectl_complete-netobserv ]]; then
    same "$1: completion" $'flows\n:4' "$(PATH=$path kubectl_complete-netobserv fl)"
  fi
  cd - >/dev/null
}

# --- the packages themselves ---
# What was compiled with symbols for a debugger takes minutes to pack.
if command -v strip >/dev/null; then
  strip -o "$work/program" "$program"
  program=$work/program
fi
scripts/package.sh --bin "$program" --target "$target" --output "$dir"
(umask 077 && sleep 1 && scripts/package.sh --bin "$program" --target "$target" --output "$work/again" >/dev/null)
same 'a second run' '' "$(diff -rq "$dir" "$work/again" || true)"
(cd "$dir" && sha256sum --quiet -c SHA256SUMS)
same 'owners in the archive' '0/0' "$(tar --numeric-owner -tvzf "$dir/netobserv-$target.tar.gz" | awk '{ print $2 }' | sort -u)"
python3 - "$dir/netobserv-$target.cdx.json" <<'PYTHON'
import json, sys
bom = json.load(open(sys.argv[1]))
assert bom["bomFormat"] == "CycloneDX" and len(bom["components"]) > 50, "the list of crates is not whole"
assert all(crate.get("licenses") and crate["version"] and crate["purl"] for crate in bom["components"])
known = {crate["bom-ref"] for crate in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
assert all(set(entry["dependsOn"]) <= known for entry in bom["dependencies"])
PYTHON
ok 'packages are the same when they are made again'

# --- tarball ---
mkdir "$work/tarball"
tar -xzf "$dir/netobserv-$target.tar.gz" -C "$work/tarball"
asks 'tarball' "$work/tarball/build"
cmp LICENSE "$work/tarball/LICENSE"
grep -q '^\.TH oc-netobserv 1' "$work/tarball/man/oc-netobserv.1"
grep -q 'enable_rtt' "$work/tarball/man/oc-netobserv-flows.1"
bash --norc -c "source '$work/tarball/completions/oc-netobserv.bash' && complete -p oc-netobserv >/dev/null"
ok 'tarball'

# --- from source: what `cargo build` made, installed as the page says ---
mkdir -p "$work/source/bin"
install "$program" "$work/source/bin/oc-netobserv"
ln -s oc-netobserv "$work/source/bin/kubectl-netobserv"
asks 'from source' "$work/source/bin"
ok 'from source'

# --- deb ---
case $native in ppc64le) debian=ppc64el ;; *) debian=$native ;; esac
deb=$dir/netobserv-cli_${version}_$debian.deb
if [[ -e $deb ]]; then
  root=$work/debian
  mkdir -p "$root/var/lib/dpkg"/{updates,info} "$root/var/log"
  touch "$root/var/lib/dpkg/status"
  debian_root() { dpkg --root="$root" --force-not-root --force-bad-path --log=/dev/null "$@" >/dev/null; }
  debian_root -i "$deb"
  asks 'deb' "$root/usr/bin"
  (cd "$root" && md5sum --quiet -c var/lib/dpkg/info/netobserv-cli.md5sums)
  [[ -e $root/usr/share/man/man1/oc-netobserv-flows.1.gz && -e $root/usr/share/bash-completion/completions/kubectl-netobserv ]]
  debian_root -P netobserv-cli
  empty 'what the deb leaves' "$root"
  ok 'deb'
else
  skip 'deb: no dpkg-deb'
fi

# --- rpm ---
rpm=$(find "$dir" -name '*.rpm' | head -1)
if [[ -n $rpm ]] && ((EUID == 0)); then
  root=$work/rpm
  mkdir -p "$root"
  force=()
  # Debian's rpm warns of itself without it; others do not know the word.
  if rpm --force-debian --version >/dev/null 2>&1; then force=(--force-debian); fi
  rpm_root() { rpm "${force[@]}" --root "$root" --dbpath /var/lib/rpm "$@"; }
  rpm --root "$root" --dbpath /var/lib/rpm --initdb
  rpm_root -i --nodeps --ignorearch "$rpm"
  asks 'rpm' "$root/usr/bin"
  same 'rpm -V' '' "$(rpm_root -V netobserv-cli || true)"
  rpm_root -e netobserv-cli
  empty 'what the rpm leaves' "$root"
  ok 'rpm'
else
  skip 'rpm: no rpmbuild, or not root'
fi

# --- krew ---
if python3 -c 'import yaml' 2>/dev/null; then
  manifest=$work/netobserv.yaml
  scripts/krew-manifest.py --sums "$dir/SHA256SUMS" --version "$version" --output "$manifest" >/dev/null
  scripts/krew-manifest.py --check "$manifest" >/dev/null
  for wrong in 's/v1alpha2/v1/' 's/sha256: ./sha256: X/' 's/name: netobserv/name: net.observ/' 's/bin: .*/bin: ""/' \
    's/version: v/version: /' 's/  os: linux/  kernel: linux/' 's/shortDescription: .*/&. And more words than it may have/'; do
    sed "$wrong" "$manifest" >"$work/wrong.yaml"
    if scripts/krew-manifest.py --check "$work/wrong.yaml" >/dev/null 2>&1; then die "krew: $wrong was not found"; fi
  done
  archive=$dir/netobserv-$target.tar.gz
  if command -v kubectl-krew >/dev/null; then
    KREW_ROOT=$work/krew kubectl-krew install --manifest="$manifest" --archive="$archive" >/dev/null 2>&1
  else
    # What `kubectl krew install --manifest --archive` does, as its documentation says: the archive is unpacked, "files" go
    # into the store, and "bin" is linked into PATH under the plugin's name.
    python3 - "$manifest" "$archive" "$work/krew" "$native" <<'PYTHON'
import glob, hashlib, os, shutil, sys, tarfile, tempfile, yaml
manifest, archive, root, arch = sys.argv[1:]
plugin = yaml.safe_load(open(manifest))
spec = plugin["spec"]
[platform] = [p for p in spec["platforms"] if p["selector"]["matchLabels"] == {"os": "linux", "arch": arch}]
assert hashlib.sha256(open(archive, "rb").read()).hexdigest() == platform["sha256"]
name = plugin["metadata"]["name"]
with tempfile.TemporaryDirectory() as unpacked, tarfile.open(archive) as tar:
    assert all(member.isfile() or member.isdir() for member in tar), "krew unpacks files and folders only"
    tar.extractall(unpacked)
    store = os.path.join(root, "store", name, spec["version"])
    os.makedirs(store)
    os.makedirs(os.path.join(root, "bin"))
    for file in platform["files"]:
        for found in glob.glob(os.path.join(unpacked, file["from"])):
            shutil.copy(found, os.path.normpath(os.path.join(store, file["to"])))
os.symlink(os.path.join(store, platform["bin"]), os.path.join(root, "bin", f"kubectl-{name}"))
PYTHON
  fi
  same 'krew' "$line" "$(cd "$work" && PATH=$work/fake:$work/krew/bin:/usr/bin:/bin kubectl netobserv version)"
  ok 'krew'
else
  skip 'krew: python3 has no yaml (Debian: python3-yaml)'
fi

echo "$passed ways to install work, $skipped skipped"
