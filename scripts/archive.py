#!/usr/bin/env python3
"""Packs a folder into a .tar.gz or .zip that depends on nothing but the files: fixed times, no owners, sorted names.

    archive.py OUTPUT FOLDER [--prefix NAME/]

A symbolic link is packed as the file that it stands for: krew and Windows take no links. The time of every file is
SOURCE_DATE_EPOCH.
"""

import argparse
import gzip
import io
import os
import sys
import tarfile
import time
import zipfile
from pathlib import Path

# The oldest time that a zip can tell.
ZIP_EPOCH = 315532800


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def mode(path):
    return 0o755 if os.access(path, os.X_OK) else 0o644


def folders(names):
    """Every folder above these names, once, in order."""
    return sorted({str(parent) for name in names for parent in Path(name).parents} - {"."})


def tar_gz(output, members, when):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in folders(name for name, _ in members):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, when
            tar.addfile(info)
        for name, path in members:
            content = path.read_bytes()
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode(path), when
            tar.addfile(info, io.BytesIO(content))
    output.write_bytes(gzip.compress(data.getvalue(), compresslevel=9, mtime=0))


def zipped(output, members, when):
    when = time.gmtime(max(when, ZIP_EPOCH))[:6]
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in members:
            info = zipfile.ZipInfo(name, when)
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            info.external_attr = mode(path) << 16
            archive.writestr(info, path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prefix", default="", help="folder in the archive that holds everything")
    words = parser.parse_args()

    when = int(os.environ["SOURCE_DATE_EPOCH"])
    members = [(words.prefix + str(path.relative_to(words.folder)), path) for path in files(words.folder)]
    if not members:
        sys.exit(f"error: {words.folder} is empty: there is nothing to pack")
    partial = words.output.with_name(words.output.name + ".part")
    (zipped if words.output.suffix == ".zip" else tar_gz)(partial, members, when)
    partial.rename(words.output)


if __name__ == "__main__":
    main()
