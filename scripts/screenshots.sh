#!/usr/bin/env bash
# Makes the pictures of the README anew: the real collector on a terminal, with the traffic of collector/tests/scenes.
#
#   scripts/screenshots.sh      docs/images/*.svg, in about half a minute
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
mkdir -p docs/images
NETOBSERV_SCREENSHOTS=$PWD/docs/images cargo test --quiet --locked --package netobserv-collector --test screenshots
note "made: $(echo docs/images/*.svg)"
