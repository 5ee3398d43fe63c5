#!/usr/bin/env bash
# Records the scenes in collector/tests/scenes again: real agents and a real collector on two nodes of the cluster that is made of
# network namespaces (tests/cluster), real packets, a real policy, and one busy machine. Takes two minutes, and needs root.
#
#   scripts/record-scenes.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
cargo build --quiet --locked --workspace
folder=$PWD/collector/tests/scenes
NETOBSERV_REQUIRE_PRIVILEGED=1 NETOBSERV_RECORD_SCENES=$folder cargo test --quiet --locked --workspace --test record_scenes
note "recorded: $(echo collector/tests/scenes/*.json)"
