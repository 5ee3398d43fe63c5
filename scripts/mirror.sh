#!/usr/bin/env bash
# Takes the images and the packages to a place without a way out: one file there, one command on the other side.
#
#   mirror.sh save [--images FILE.oci.tar] [--packages DIR] [--output FILE]
#                                     one file with the images of scripts/build-images.sh, the packages of
#                                     scripts/package.sh, checksums, and this script
#   mirror.sh check FILE|DIR          nothing is missing, nothing was changed on the way
#   mirror.sh push FILE|DIR REGISTRY[/PATH] [--http] [--ca FILE] [--user NAME --password-file FILE]
#                                     checks, then puts the images into the registry and reads them back by digest
#
# On the other side: tar xf FILE, then DIR/mirror.sh push DIR registry.example.com:5000. It needs bash, sha256sum, tar and
# python3, and no container engine. --http is for a registry without TLS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

die() {
  echo "error: $*" >&2
  exit 1
}
usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d' >&2
  exit 2
}

work=''
trap 'if [[ -n $work ]]; then rm -rf "$work"; fi' EXIT

# opened FILE|DIR: the folder of a bundle; a file is unpacked for as long as this script runs.
opened() {
  if [[ -d $1 ]]; then
    folder=$1
    return
  fi
  [[ -f $1 ]] || die "$1: there is no such file or folder"
  work=$(mktemp -d)
  tar -xf "$1" -C "$work" 2>/dev/null || die "$1 is no bundle of mirror.sh save, or was cut short: copy it again"
  folder=$(echo "$work"/netobserv-airgap-*)
  [[ -d $folder ]] || die "$1 is no bundle of mirror.sh save"
}

# Every file of the list is there as it was, and no file is there that is not in the list.
check() {
  local listed found
  [[ -f $folder/SHA256SUMS ]] || die "$folder has no SHA256SUMS: it is no bundle of mirror.sh save"
  (cd "$folder" && sha256sum --strict --quiet -c SHA256SUMS) || die 'the bundle was damaged on the way: copy it again'
  listed=$(cut -c67- "$folder/SHA256SUMS" | LC_ALL=C sort)
  found=$(cd "$folder" && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort)
  [[ $listed == "$found" ]] || die "the bundle has other files than its list: $(comm -3 <(echo "$listed") <(echo "$found") | xargs)"
  echo "$(wc -l <"$folder/SHA256SUMS") files are as they were saved"
}

save() {
  local repository version images packages=target/packages output='' name file
  repository=$(cd "$here/.." && pwd)
  cd "$repository"
  # shellcheck source=scripts/lib.sh
  . scripts/lib.sh
  version=$(project_version)
  source_date
  images=target/images/netobserv-cli-$version.oci.tar
  while (($#)); do
    case $1 in
      --images | --packages | --output) [[ -n ${2-} ]] || die "$1 needs a value" ;;&
      --images) images=$2 ;;
      --packages) packages=$2 ;;
      --output) output=$2 ;;
      *) usage ;;
    esac
    shift 2
  done
  [[ -f $images ]] || die "$images is not there: build it with scripts/build-images.sh, or name another with --images"
  [[ -f $packages/SHA256SUMS ]] || die "$packages has no packages: make them with scripts/package.sh, or name another folder with --packages"
  (cd "$packages" && sha256sum --strict --quiet -c SHA256SUMS) || die "$packages is not as scripts/package.sh left it: make it again"
  name=netobserv-airgap-$version
  output=${output:-target/$name.tar}
  work=$(mktemp -d)
  mkdir -p "$work/$name"/{images,packages} "$(dirname "$output")"
  cp "$images" "$work/$name/images/netobserv-cli-$version.oci.tar"
  while read -r _ file; do cp "$packages/$file" "$work/$name/packages/"; done <"$packages/SHA256SUMS"
  cp scripts/mirror.sh scripts/oci-push.py LICENSE "$work/$name/"
  (cd "$work/$name" && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort | xargs sha256sum >"$work/sums")
  mv "$work/sums" "$work/$name/SHA256SUMS"
  tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX -cf "$output.part" "$name"
  mv "$output.part" "$output"
  echo "$output: $(wc -c <"$output") bytes, $(wc -l <"$work/$name/SHA256SUMS") files"
}

push() {
  local target=$1 archive
  shift
  check
  for archive in "$folder"/images/*.oci.tar; do
    python3 "$here/oci-push.py" "$archive" "$target" "$@"
  done
  echo "now: export NETOBSERV_REGISTRY=$target (or --registry=$target) where oc netobserv is run"
}

case ${1-} in
  save)
    shift
    save "$@"
    ;;
  check)
    (($# == 2)) || usage
    opened "$2"
    check
    ;;
  push)
    (($# >= 3)) || usage
    opened "$2"
    push "${@:3}"
    ;;
  *) usage ;;
esac
