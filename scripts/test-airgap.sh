#!/usr/bin/env bash
# Takes images and packages into a network that has no way out but a registry of its own, by scripts/mirror.sh, and pulls
# there what the plugin names. Called by test.sh.
#
#   scripts/test-airgap.sh PROGRAM PACKAGES [IMAGES.oci.tar]
#
# PROGRAM is the plugin, PACKAGES a folder that scripts/package.sh filled. Without IMAGES an image with small stand-ins for
# the two programs is made. The registry is that of Debian's package docker-registry.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

(($# >= 2)) || die "usage: $0 PROGRAM PACKAGES [IMAGES.oci.tar]"
if [[ ${NETOBSERV_AIRGAP-} != inside ]]; then
  command -v docker-registry >/dev/null || die 'docker-registry is not installed (Debian: docker-registry)'
  alone=(unshare --net)
  if ((EUID != 0)); then alone=(unshare --user --map-root-user --net); fi
  if ! "${alone[@]}" true 2>/dev/null; then
    note 'SKIPPED: air gap: this system lets only root make a network of its own'
    exit
  fi
  export NETOBSERV_AIRGAP=inside
  exec "${alone[@]}" "$0" "$@"
fi
program=$(realpath "$1") packed=$(realpath "$2") images=${3:+$(realpath "$3")}
version=$(project_version)
work=$(mktemp -d)
children=()
clean_up() {
  if ((${#children[@]})); then
    kill "${children[@]}" 2>/dev/null || true
    wait "${children[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT

ip link set lo up
[[ -z $(ip route show) && $(ip -o link | wc -l) == 1 ]] || die 'this network has a way out'
echo 'ok: a network with nothing but lo'

# refused TEXT COMMAND...: it fails, and says TEXT.
refused() {
  local text=$1
  shift
  if "$@" >"$work/said" 2>&1; then die "this should have failed: $*"; fi
  grep -qF -- "$text" "$work/said" || die "'$text' is not in: $(cat "$work/said")"
}

# registry NAME PORT MORE-OF-THE-CONFIGURATION
registry() {
  mkdir -p "$work/$1"
  cat >"$work/$1.yml" <<CONFIG
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $work/$1
http:
  addr: 127.0.0.1:$2
$3
CONFIG
  docker-registry serve "$work/$1.yml" >"$work/$1.log" 2>&1 &
  children+=($!)
  for _ in {1..200}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then return; fi
    kill -0 "${children[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  die "the registry does not start: $(tail -3 "$work/$1.log")"
}

if [[ -z $images ]]; then
  mkdir "$work/programs"
  for name in netobserv-agent netobserv-collector; do printf '#!/bin/sh\necho %s\n' "$name" >"$work/programs/$name"; done
  images=$work/images.oci.tar
  SOURCE_DATE_EPOCH=0 python3 scripts/oci-image.py --name "ghcr.io/netobserv-rs/netobserv-cli:$version" --output "$images" \
    "amd64=$work/programs" "arm64=$work/programs" >/dev/null
fi

# --- this side: one file ---
scripts/mirror.sh save --images "$images" --packages "$packed" --output "$work/bundle.tar"
scripts/mirror.sh check "$work/bundle.tar"
head -c 100000 "$work/bundle.tar" >"$work/short.tar"
refused 'was cut short' scripts/mirror.sh check "$work/short.tar"
refused 'no such file' scripts/mirror.sh check "$work/nothing.tar"
mkdir "$work/other"
tar -xf "$work/bundle.tar" -C "$work/other"
bundle=$work/other/netobserv-airgap-$version
# The programs and nothing but what is on the other side.
cd /
"$bundle/mirror.sh" check "$bundle"
for change in "echo x >>'$bundle/LICENSE'" "rm '$bundle/LICENSE'" "echo x >'$bundle/more'"; do
  cp -a "$bundle" "$work/changed"
  bash -c "${change//$bundle/$work/changed}"
  refused 'the bundle' "$bundle/mirror.sh" check "$work/changed"
  rm -rf "$work/changed"
done
echo 'ok: what was changed or lost on the way is found'

# --- the other side ---
refused 'cannot reach 127.0.0.1:5000' "$bundle/mirror.sh" push "$bundle" 127.0.0.1:5000 --http
registry plain 5000 ''
"$bundle/mirror.sh" push "$bundle" 127.0.0.1:5000/team --http | tee "$work/pushed"
digest=$(sed -n 's/.*netobserv-cli@//p' "$work/pushed")

# What the plugin names is there, under its tag and by its digest, whole.
reference=$("$program" images --registry=127.0.0.1:5000/team)
[[ $reference == "127.0.0.1:5000/team/netobserv-rs/netobserv-cli:$version" ]] || die "the plugin names $reference"
repository=${reference#*/} repository=${repository%:*}
base=http://127.0.0.1:5000/v2/$repository
accept=(-H 'Accept: application/vnd.oci.image.index.v1+json' -H 'Accept: application/vnd.oci.image.manifest.v1+json')
pull() {
  curl -sfS "${accept[@]}" -o "$work/pulled" "$base/$1/$2"
  if [[ $2 == sha256:* ]]; then echo "${2#sha256:}  $work/pulled" | sha256sum --quiet -c; fi
}
pull manifests "${reference##*:}"
[[ sha256:$(sha256sum "$work/pulled" | cut -d' ' -f1) == "$digest" ]] || die 'the tag is not what was pushed'
blobs=0
mapfile -t waiting <<<"manifests $digest"
while ((${#waiting[@]})); do
  read -r kind name <<<"${waiting[0]}"
  waiting=("${waiting[@]:1}")
  pull "$kind" "$name"
  blobs=$((blobs + 1))
  if [[ $kind == manifests ]]; then
    mapfile -t -O "${#waiting[@]}" waiting < <(python3 - "$work/pulled" <<'PYTHON'
import json, sys
document = json.load(open(sys.argv[1]))
for entry in document.get("manifests", []):
    print("manifests", entry["digest"])
for entry in [document["config"], *document["layers"]] if "layers" in document else []:
    print("blobs", entry["digest"])
PYTHON
)
  fi
done
((blobs >= 3)) || die "only $blobs parts were pulled"
echo "ok: $blobs parts pulled by digest, as the plugin names them"
"$bundle/mirror.sh" push "$bundle" 127.0.0.1:5000/team --http >"$work/pushed"
grep -q ': sent 0 of' "$work/pushed" || die 'what is there was sent again'

# A registry as companies have them: TLS by an authority of their own, and a password.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/ca.pem" -days 2 -subj /CN=registry \
  -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
# shellcheck disable=SC2016
perl -e 'print "me:", crypt("a secret", "\$2b\$05\$abcdefghijklmnopqrstuu"), "\n"' >"$work/htpasswd"
registry closed 5443 "  tls:
    certificate: $work/ca.pem
    key: $work/key.pem
auth:
  htpasswd:
    realm: test
    path: $work/htpasswd"
printf 'a secret\n' >"$work/password"
printf 'another\n' >"$work/wrong"
refused 'cannot reach' "$bundle/mirror.sh" push "$bundle" 127.0.0.1:5443
refused '401' "$bundle/mirror.sh" push "$bundle" 127.0.0.1:5443 --ca "$work/ca.pem"
refused '401' "$bundle/mirror.sh" push "$bundle" 127.0.0.1:5443 --ca "$work/ca.pem" --user me --password-file "$work/wrong"
"$bundle/mirror.sh" push "$work/bundle.tar" 127.0.0.1:5443 --ca "$work/ca.pem" --user me --password-file "$work/password" | grep "@$digest"
if grep -rq 'a secret' "$work/said" "$work/pushed"; then die 'the password was printed'; fi
echo 'ok: a registry with TLS and a password'

# The packages that came along are those that were packed.
(cd "$bundle/packages" && sha256sum --quiet -c "$packed/SHA256SUMS")
echo 'ok: the packages arrived'
