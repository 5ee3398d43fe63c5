#!/usr/bin/env python3
"""Packs the two programs into an OCI archive: layers, configuration, manifests and index, without a container engine.

Called by scripts/build-images.sh. Everything that could differ from one run to the next (times, owners, order) is fixed,
so that the same programs give the same bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

# A user that is not root and that no distribution uses; OpenShift gives the pod another one anyway.
USER = 65532
# What the registry charges for and a node pulls: the promise of the project is less than this.
MOST_BYTES = 20 << 20
MEDIA = "application/vnd.oci.image."
# The collector goes by these names too: it is the program that `oc exec`, `oc cp` and `oc run` call.
COLLECTOR_NAMES = ["network-observability-cli", "bin/tar", "bin/sleep"]
# Folders with owner and mode. What runs as any user must be able to write into /output and /tmp.
FOLDERS = [("bin", 0, 0o755), ("etc", 0, 0o755), ("output", USER, 0o777), ("tmp", 0, 0o1777)]
# Without it the C library would look for names in services that need its shared objects.
NSSWITCH = b"hosts: files dns\n"


def member(name, kind, mode, owner=0):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
    info.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
    return info


def layer(folder):
    """The tar of the root file system."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:

        def add_file(name, data, mode):
            info = member(name, tarfile.REGTYPE, mode)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for name, owner, mode in FOLDERS:
            tar.addfile(member(name, tarfile.DIRTYPE, mode, owner))
        add_file("etc/nsswitch.conf", NSSWITCH, 0o644)
        add_file("netobserv-agent", (folder / "netobserv-agent").read_bytes(), 0o755)
        add_file("netobserv-collector", (folder / "netobserv-collector").read_bytes(), 0o755)
        for name in COLLECTOR_NAMES:
            info = member(name, tarfile.SYMTYPE, 0o777)
            info.linkname = "/netobserv-collector"
            tar.addfile(info)
    return out.getvalue()


def labels(version, revision, created):
    words = {
        "title": "netobserv-cli",
        "description": "Agent and collector of the Network Observability CLI: flows and packets of a cluster, on demand",
        "licenses": "Apache-2.0",
        "version": version,
        "revision": revision,
        "created": created,
    }
    return {f"org.opencontainers.image.{name}": value for name, value in words.items() if value}


def configuration(arch, diff_id, labels, created):
    return {
        "created": created,
        "architecture": arch,
        "os": "linux",
        "config": {
            "User": str(USER),
            "Env": ["PATH=/bin:/", "SQLITE_TMPDIR=/output"],
            "Cmd": ["/netobserv-collector", "--help"],
            "WorkingDir": "/",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "scripts/build-images.sh"}],
    }


class Blobs:
    """Content by its digest."""

    def __init__(self):
        self.by_digest = {}

    def add(self, data, media, **more):
        digest = hashlib.sha256(data).hexdigest()
        self.by_digest[digest] = data
        return {"mediaType": MEDIA + media, "digest": f"sha256:{digest}", "size": len(data), **more}

    def add_json(self, value, media, **more):
        return self.add(text(value), media, **more)


def text(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def image(blobs, arch, folder, labels, created):
    """The descriptor of one architecture's manifest, and its compressed size."""
    tar = layer(folder)
    compressed = gzip.compress(tar, compresslevel=9, mtime=0)
    packed = blobs.add(compressed, "layer.v1.tar+gzip")
    diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
    config = blobs.add_json(configuration(arch, diff_id, labels, created), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": config, "layers": [packed], "annotations": labels}
    platform = {"architecture": arch, "os": "linux"}
    size = packed["size"] + config["size"]
    return blobs.add_json(manifest, "manifest.v1+json", platform=platform), size


def index(manifests):
    return {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": manifests}


def archive(path, blobs, top):
    files = {"oci-layout": text({"imageLayoutVersion": "1.0.0"}), "index.json": text(index([top]))}
    files |= {f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.by_digest.items())}
    partial = path.with_name(path.name + ".part")
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ["blobs", "blobs/sha256"]:
            tar.addfile(member(name, tarfile.DIRTYPE, 0o755))
        for name, data in files.items():
            info = member(name, tarfile.REGTYPE, 0o644)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    partial.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="REPOSITORY:VERSION")
    parser.add_argument("--revision", default="")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("programs", nargs="+", metavar="ARCH=FOLDER")
    words = parser.parse_args()

    version = words.name.rpartition(":")[2]
    created = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = labels(version, words.revision, created)
    blobs, manifests, largest = Blobs(), [], 0
    for arch, _, folder in (program.partition("=") for program in words.programs):
        descriptor, size = image(blobs, arch, Path(folder), about, created)
        print(f"{arch}: {size / (1 << 20):.2f} MiB compressed, {descriptor['digest']}")
        manifests.append(descriptor)
        largest = max(largest, size)
    names = {"org.opencontainers.image.ref.name": version, "io.containerd.image.name": words.name}
    if len(manifests) == 1:
        top = {**manifests[0], "annotations": names}
    else:
        top = blobs.add_json(index(manifests), "index.v1+json", annotations=names)
    archive(words.output, blobs, top)
    print(f"{words.name}: {top['digest']}\n{words.output}: {words.output.stat().st_size} bytes")
    if largest > MOST_BYTES:
        sys.exit(f"error: {largest} bytes compressed are more than {MOST_BYTES}")


if __name__ == "__main__":
    main()
