#!/usr/bin/env python3
"""Writes what a program is made of as CycloneDX 1.5 JSON: every crate that is linked into it, with version, licence,
checksum and what it depends on. From `cargo metadata` and Cargo.lock alone; no network is needed.

    sbom.py --package oc-netobserv --target x86_64-unknown-linux-gnu --output FILE
"""

import argparse
import json
import os
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked"], check=True, stdout=subprocess.PIPE).stdout


def metadata(target):
    """Cargo's own account, of the platform that the program is for."""
    return json.loads(cargo("metadata", "--format-version=1", f"--filter-platform={target}"))


def built(name, target):
    """Names and versions of the crates of this program alone: `metadata` has the features of the whole workspace."""
    words = ["tree", "--package", name, "--edges=normal,build", "--target", target, "--prefix=none", "--format={p}"]
    lines = cargo(*words).decode().splitlines()
    return {(words[0], words[1].removeprefix("v")) for words in map(str.split, lines) if words}


def checksums():
    """Of the crates' archives, by name and version."""
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)
    return {(crate["name"], crate["version"]): crate.get("checksum") for crate in lock["package"]}


def linked(node, crates):
    """What a crate is linked with, or built by; what only its tests need is no part of the program."""
    kinds = {dep["pkg"]: {kind["kind"] for kind in dep["dep_kinds"]} for dep in node["deps"]}
    return sorted(crate for crate in kinds if crate in crates and kinds[crate] != {"dev"})


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums, kind="library"):
    entry = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        # Old manifests have A/B where SPDX says A OR B.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def document(name, target):
    told = metadata(target)
    packages = {package["id"]: package for package in told["packages"]}
    root = next(crate for crate in told["workspace_members"] if packages[crate]["name"] == name)
    wanted = built(name, target)
    crates = [crate for crate, package in packages.items() if (package["name"], package["version"]) in wanted]
    crates.sort(key=lambda crate: reference(packages[crate]))
    edges = {node["id"]: linked(node, crates) for node in told["resolve"]["nodes"] if node["id"] in crates}
    sums = checksums()
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(packages[root], sums, "application"),
            "properties": [{"name": "rust:target", "value": target}],
        },
        "components": [component(packages[crate], sums) for crate in crates if crate != root],
        "dependencies": [
            {"ref": reference(packages[crate]), "dependsOn": [reference(packages[to]) for to in edges[crate]]}
            for crate in crates
        ],
    }
    # The same content has the same number.
    content = json.dumps(bom, sort_keys=True)
    return {**bom, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--output", type=Path, required=True)
    words = parser.parse_args()
    text = json.dumps(document(words.package, words.target), indent=1, sort_keys=True)
    words.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
