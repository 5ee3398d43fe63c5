#!/usr/bin/env bash
# The steps of a release. .github/workflows/release.yml calls them one by one, on several machines; --dry-run does all of them
# here, as far as this machine can build, and publishes nothing.
#
#   scripts/release.sh --dry-run [--for-tests]   all steps; --for-tests takes what `cargo build` compiled
#   scripts/release.sh check TAG                 the tag is v and the version of Cargo.toml, and CHANGELOG.md has it
#   scripts/release.sh digest IMAGES.oci.tar     what the plugin is told of its image: NETOBSERV_IMAGE_DIGEST
#   scripts/release.sh notes                     what CHANGELOG.md says of this version, or of what is not released yet
#   scripts/release.sh finish PACKAGES IMAGES.oci.tar   checksums, krew's manifest, and the file for networks without a way out
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

version=$(project_version)
usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d' >&2
  exit 2
}

# notes_of TITLE: the text below "## [TITLE]".
notes_of() { awk -v title="## [$1]" 'index($0, "## [") == 1 { inside = index($0, title) == 1; next } inside' CHANGELOG.md; }

notes() {
  local text
  text=$(notes_of "$version")
  [[ -n $text ]] || text=$(notes_of Unreleased)
  [[ -n $text ]] || die 'CHANGELOG.md says nothing of what is new'
  printf '%s\n' "$text"
}

check() {
  [[ $1 == "v$version" ]] || die "the tag is $1 and Cargo.toml says $version: one of them is wrong"
  [[ -n $(notes_of "$version") ]] || die "CHANGELOG.md has no section [$version]: rename [Unreleased]"
  git diff --quiet HEAD || die 'the tree has changes that are not in the tag'
  echo "$1 is good to go"
}

digest() {
  [[ -f $1 ]] || die "$1: there is no such file"
  tar -xOf "$1" index.json | python3 -c 'import json, sys; print(json.load(sys.stdin)["manifests"][0]["digest"])'
}

finish() {
  scripts/package.sh --sums --output "$1"
  scripts/krew-manifest.py --sums "$1/SHA256SUMS" --version "$version" --output "$1/netobserv.yaml"
  scripts/mirror.sh save --images "$2" --packages "$1" --output "$1/../netobserv-airgap-$version.tar"
  scripts/mirror.sh check "$1/../netobserv-airgap-$version.tar"
}

dry_run() {
  local for_tests=() work images
  if [[ ${1-} == --for-tests ]]; then for_tests=(--for-tests); fi
  work=target/release-dry-run
  rm -rf "$work"
  mkdir -p "$work/packages"
  images=$work/netobserv-cli-$version.oci.tar
  heading 'Images'
  scripts/build-images.sh "${for_tests[@]}" --output "$images"
  export NETOBSERV_IMAGE_DIGEST
  NETOBSERV_IMAGE_DIGEST=$(digest "$images")
  heading 'Packages'
  scripts/package.sh "${for_tests[@]}" --output "$work/packages"
  heading 'Checksums, krew, air gap'
  finish "$work/packages" "$images"
  heading 'Notes'
  notes | head -n 5
  note "all of it is in $work; a release would publish it"
}

case ${1-} in
  --dry-run) dry_run "${2-}" ;;
  check)
    (($# == 2)) || usage
    check "$2"
    ;;
  digest)
    (($# == 2)) || usage
    digest "$2"
    ;;
  notes) notes ;;
  finish)
    (($# == 3)) || usage
    finish "$2" "$3"
    ;;
  *) usage ;;
esac
