#!/usr/bin/env python3
"""Looks at every crate that the workspace depends on: licences and sources against .deny.toml, advisories against RustSec's
database where that can be had, and the workspace's own list for entries that nobody uses.

    check-crates.py                     fetches the database; without a way to it, says that advisories were not checked
    check-crates.py --advisories DIR    with a copy that is there
    check-crates.py --self-test         tries what it knows about versions and licences

It does with `cargo metadata` what cargo-deny does after minutes of compilation, but for versions that were yanked; .deny.toml is
cargo-deny's own file, and that program can be used instead.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

DATABASE = "https://github.com/rustsec/advisory-db"
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def licensed(expression, allowed):
    """Whether an SPDX expression can be met by licences of a set; `/` is an old way to write OR."""
    words = re.findall(r"[()]|[^\s()/]+|/", expression)

    def term():
        word = words.pop(0)
        if word == "(":
            value = either()
            words.pop(0)
            return value
        if words[:1] == ["WITH"]:
            word = " ".join([word, words.pop(0), words.pop(0)])
        return word in allowed

    def both():
        value = term()
        while words[:1] == ["AND"]:
            words.pop(0)
            value = term() and value
        return value

    def either():
        value = both()
        while words and words[0] in ("OR", "/"):
            words.pop(0)
            value = both() or value
        return value

    return either()


def number(text):
    """A version for comparison: a release comes after its own previews."""
    text = text.split("+")[0]
    release, _, preview = text.partition("-")
    parts = [int(part) for part in release.split(".")]
    parts += [0] * (3 - len(parts))
    words = [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in preview.split(".")] if preview else []
    return (*parts, not preview, words)


def meets(version, requirement):
    """Whether a version lies in a Cargo requirement such as `>= 1.2, < 2` or `^0.3.1`."""
    return all(meets_one(number(version), part.strip()) for part in requirement.split(",") if part.strip())


def meets_one(version, part):
    sign, wanted = re.fullmatch(r"(>=|<=|>|<|=|\^|~)?\s*v?(\S+)", part).groups()
    if wanted == "*":
        return True
    low = number(wanted)
    given = len(wanted.split("-")[0].split("."))
    if sign == ">=":
        return version >= low
    if sign == "<=":
        return version <= low
    if sign == ">":
        return version > low
    if sign == "<":
        return version < low
    if sign == "=":
        return version[:given] == low[:given] if given < 3 else version == low
    # `^1.2.3` ends before 2, `^0.2.3` before 0.3, `~1.2.3` before 1.3.
    place = min(1, given - 1) if sign == "~" else next((at for at in range(given) if low[at]), given - 1)
    top = [*low[:place], low[place] + 1] + [0] * (2 - place)
    return version >= low and version < (*top, False, [])


def advisories(folder):
    """The front matter of every advisory."""
    for path in sorted(Path(folder).glob("crates/*/RUSTSEC-*.md")):
        text = path.read_text().split("```")[1]
        yield tomllib.loads(text.removeprefix("toml"))


def concerns(entry, package):
    """Whether an advisory is about this version of this crate; notices that a crate is unmaintained are no reason to fail."""
    advisory, versions = entry["advisory"], entry.get("versions", {})
    if advisory["package"] != package["name"] or advisory.get("withdrawn") or advisory.get("informational"):
        return False
    safe = versions.get("patched", []) + versions.get("unaffected", [])
    return not any(meets(package["version"], requirement) for requirement in safe)


def fetched(into):
    """A copy of the database, or None without a way to it."""
    words = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", "clone", "--quiet", "--depth=1", DATABASE, into]
    try:
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return into if done.returncode == 0 else None


def known(packages, folder, rules):
    """What the database says of these crates, and how many advisories it has."""
    entries = list(advisories(folder))
    ignored = set(rules.get("advisories", {}).get("ignore", []))
    found = [
        f"{package['name']} {package['version']}: {entry['advisory']['id']}, mended in {entry.get('versions', {}).get('patched')}"
        for package in packages
        for entry in entries
        if concerns(entry, package) and entry["advisory"]["id"] not in ignored
    ]
    return found, len(entries)


def wrong_licences(packages, rules):
    own = {entry["crate"]: set(entry["allow"]) for entry in rules["licenses"].get("exceptions", [])}
    for package in packages:
        allowed = set(rules["licenses"]["allow"]) | own.get(package["name"], set())
        if not package["license"] or not licensed(package["license"], allowed):
            yield f"{package['name']} {package['version']}: licence {package['license']} is not in .deny.toml"


def wrong_sources(packages, members, rules):
    banned = {entry["crate"] for entry in rules["bans"].get("deny", [])}
    for package in packages:
        if package["source"] is None and package["id"] in members:
            continue
        if package["source"] != CRATES_IO:
            yield f"{package['name']} {package['version']}: comes from {package['source'] or package['manifest_path']}"
        if package["name"] in banned:
            yield f"{package['name']} {package['version']}: is banned in .deny.toml"


def unused_entries(metadata):
    """Entries of [workspace.dependencies] that no member takes."""
    with open("Cargo.toml", "rb") as file:
        listed = tomllib.load(file)["workspace"]["dependencies"]
    members = [package for package in metadata["packages"] if package["id"] in metadata["workspace_members"]]
    taken = {dependency["name"] for member in members for dependency in member["dependencies"]}
    return [f"{name}: stands in [workspace.dependencies], and no member takes it" for name in listed if name not in taken]


def self_test():
    allowed = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    for expression, expected in {
        "MIT": True,
        "GPL-3.0": False,
        "GPL-3.0 OR MIT": True,
        "GPL-3.0/MIT": True,
        "MIT AND ISC": True,
        "(GPL-3.0 OR ISC) AND MIT": True,
        "MIT AND (GPL-3.0 OR X)": False,
        "GPL-3.0 AND MIT OR ISC": True,
        "Apache-2.0 WITH LLVM-exception": True,
        "Apache-2.0": False,
    }.items():
        assert licensed(expression, allowed) == expected, expression
    for version, requirement, expected in [
        ("1.2.3", ">= 1.2.3", True),
        ("1.2.3-rc.1", ">= 1.2.3", False),
        ("1.2.3-rc.2", "> 1.2.3-rc.1", True),
        ("1.2.3", ">= 1.0, < 1.2.3", False),
        ("1.9.0", "^1.2", True),
        ("2.0.0", "^1.2", False),
        ("2.0.0-rc.1", "^1.2", False),
        ("0.2.9", "^0.2.3", True),
        ("0.3.0", "^0.2.3", False),
        ("0.0.4", "^0.0.3", False),
        ("0.5.1", "^0", True),
        ("1.2.9", "~1.2.3", True),
        ("1.3.0", "~1.2.3", False),
        ("1.3.0", "1.2", True),
        ("1.3.0", "= 1.3", True),
        ("1.3.1+build", "= 1.3.1", True),
        ("1.10.0", "< 1.9", False),
    ]:
        assert meets(version, requirement) == expected, (version, requirement)
    with tempfile.TemporaryDirectory() as folder:
        crate = Path(folder, "crates/hole")
        crate.mkdir(parents=True)
        text = '```toml\n[advisory]\nid = "RUSTSEC-2020-0001"\npackage = "hole"\n[versions]\npatched = [">= 1.2"]\n```\n# Words\n'
        Path(crate, "RUSTSEC-2020-0001.md").write_text(text)
        for version, expected in [("1.1.9", 1), ("1.2.0", 0)]:
            assert len(known([{"name": "hole", "version": version}], folder, {})[0]) == expected, version
        assert known([{"name": "hole", "version": "1.0.0"}], folder, {"advisories": {"ignore": ["RUSTSEC-2020-0001"]}})[0] == []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--advisories", metavar="DIR")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    self_test()
    if options.self_test:
        return 0
    with open(".deny.toml", "rb") as file:
        rules = tomllib.load(file)
    words = ["cargo", "metadata", "--format-version=1", "--locked"]
    metadata = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    members = set(metadata["workspace_members"])
    packages = metadata["packages"]
    wrong = [*wrong_licences(packages, rules), *wrong_sources(packages, members, rules), *unused_entries(metadata)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.advisories or fetched(f"{scratch}/db")
        if folder is None:
            print(f"advisories: NOT CHECKED, {DATABASE} cannot be reached from here")
        else:
            found, count = known(packages, folder, rules)
            wrong += found
            print(f"advisories: {len(found)} of {count} concern these crates")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(packages)} crates: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
