#!/usr/bin/env python3
"""Writes the manifest for krew from the checksums of the packages, and checks manifests.

    krew-manifest.py --sums target/packages/SHA256SUMS --version 0.1.0 --output target/packages/netobserv.yaml
    krew-manifest.py --check netobserv.yaml

The checks are those that krew makes when it reads a manifest, and those that its index asks of plugins
(https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/).
"""

import argparse
import json
import re
import sys
from pathlib import Path

import yaml

HOME = "https://github.com/netobserv-rs/netobserv-cli"
NAME = "netobserv"
# The version of the form, as krew calls it.
API = "krew.googlecontainertools.github.com/v1alpha2"
PLATFORMS = ["linux-amd64", "linux-arm64", "linux-ppc64le", "darwin-amd64", "darwin-arm64", "windows-amd64"]
SHORT = "Capture network flows and packets of a cluster"
LONG = """\
Captures the network flows and packets of a cluster on demand, with an eBPF agent on each node:
who talks to whom by the names of pods, services and nodes, how much, how slowly, and what was
dropped and why. Shows them in the terminal, brings JSON, SQLite and pcapng files home, and
leaves nothing behind.
"""
CAVEATS = """\
A capture needs the rights that it grants to its pods: those of a cluster administrator have them.
What is missing is listed before anything is made. 'kubectl netobserv cleanup' removes what an
interrupted capture left.
"""
FIELDS = {"selector", "uri", "sha256", "files", "bin"}
SPEC = {"version", "homepage", "shortDescription", "description", "caveats", "platforms"}


def archive(platform):
    return f"netobserv-{platform}.{'zip' if platform.startswith('windows') else 'tar.gz'}"


def entry(platform, base, sums):
    system, _, arch = platform.partition("-")
    program = "oc-netobserv.exe" if system == "windows" else "oc-netobserv"
    return {
        "selector": {"matchLabels": {"os": system, "arch": arch}},
        "uri": f"{base}/{archive(platform)}",
        "sha256": sums[archive(platform)],
        # krew puts the program under its own name, kubectl-netobserv, into PATH.
        "files": [{"from": f"build/{program}", "to": "."}, {"from": "LICENSE", "to": "."}],
        "bin": program,
    }


def manifest(version, base, sums):
    platforms = [entry(platform, base, sums) for platform in PLATFORMS if archive(platform) in sums]
    return {
        "apiVersion": API,
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{version}",
            "homepage": HOME,
            "shortDescription": SHORT,
            "description": LONG,
            "caveats": CAVEATS,
            "platforms": platforms,
        },
    }


class Dumper(yaml.SafeDumper):
    """Texts of several lines as they are."""

    def represent_text(self, text):
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, Dumper.represent_text)


def mistakes(text):
    """What krew would refuse, and what its index would."""
    try:
        plugin = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"it is no YAML: {error}"]
    if not isinstance(plugin, dict) or not isinstance(plugin.get("spec"), dict):
        return ["it is no object with a spec"]
    spec, wrong = plugin["spec"], []

    def want(good, what):
        if not good:
            wrong.append(what)

    want(plugin.get("apiVersion") == API, f"apiVersion is not {API}")
    want(plugin.get("kind") == "Plugin", "kind is not Plugin")
    name = (plugin.get("metadata") or {}).get("name")
    want(isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]*", name), f"the name {name!r} is no name of a plugin")
    want(set(plugin) <= {"apiVersion", "kind", "metadata", "spec"}, f"unknown fields: {sorted(set(plugin))}")
    want(set(spec) <= SPEC, f"unknown fields of spec: {sorted(set(spec) - SPEC)}")
    version = str(spec.get("version", ""))
    want(re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version), f"the version {version!r} is not v and three numbers")
    short = spec.get("shortDescription") or ""
    want(short and "\n" not in short and "\r" not in short, "shortDescription is not one line")
    want(len(short) <= 50 and not short.endswith("."), "shortDescription is longer than 50, or ends with a full stop")
    want(spec.get("homepage", "").startswith("https://"), "homepage is no https:// address")
    for line in f"{spec.get('description', '')}\n{spec.get('caveats', '')}".splitlines():
        want(len(line) <= 100, f"longer than 100: {line}")
    platforms = spec.get("platforms") or []
    want(platforms, "there is no platform")
    for platform in platforms:
        wrong.extend(f"platform {platform.get('uri')}: {what}" for what in platform_mistakes(platform))
    chosen = [json.dumps(platform.get("selector"), sort_keys=True) for platform in platforms]
    want(len(set(chosen)) == len(chosen), "two platforms have the same selector")
    return wrong


def platform_mistakes(platform):
    labels = (platform.get("selector") or {}).get("matchLabels") or {}
    if not set(platform) <= FIELDS:
        yield f"unknown fields: {sorted(set(platform) - FIELDS)}"
    if not labels or not set(labels) <= {"os", "arch"}:
        yield "the selector is not of os and arch"
    if not re.match(r"https://.*\.(tar\.gz|zip)$", str(platform.get("uri"))):
        yield "uri is no https:// address of a .tar.gz or .zip"
    if not re.fullmatch(r"[a-f0-9]{64}", str(platform.get("sha256"))):
        yield "sha256 is not 64 small hexadecimal digits"
    files = platform.get("files")
    if files is not None and not (files and all(set(file) == {"from", "to"} and all(file.values()) for file in files)):
        yield "files is empty, or one of them has not from and to"
    if not platform.get("bin") or platform["bin"].startswith("/") or ".." in platform["bin"]:
        yield "bin is no path in the archive"
    if labels.get("os") == "windows" and not str(platform.get("bin")).endswith(".exe"):
        yield "bin has no .exe"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="FILE")
    parser.add_argument("--sums", type=Path)
    parser.add_argument("--version")
    parser.add_argument("--base-url", help="where the archives will be; default: the release of that version")
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    if words.check:
        text = words.check.read_text()
    else:
        if not (words.sums and words.version and words.output):
            parser.error("--sums, --version and --output go together")
        lines = words.sums.read_text().splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        base = (words.base_url or f"{HOME}/releases/download/v{words.version}").rstrip("/")
        text = yaml.dump(manifest(words.version, base, sums), Dumper=Dumper, sort_keys=False, width=1000)
    wrong = mistakes(text)
    if wrong:
        sys.exit("\n".join(f"error: {what}" for what in wrong))
    if words.output:
        words.output.write_text(text)
    print(f"{words.output or words.check}: {text.count('sha256:')} platforms")


if __name__ == "__main__":
    main()
