#!/usr/bin/env python3
"""Puts an OCI archive into a registry, by the registry's own HTTP interface: no container engine is needed.

    oci-push.py ARCHIVE.oci.tar REGISTRY[/PATH] [--http] [--ca FILE] [--user NAME --password-file FILE]

The image keeps its path and its tag below REGISTRY[/PATH]. What is there already is not sent again. At the end every
manifest and every layer is read back by its digest. Called by mirror.sh; the interface is that of the OCI distribution
specification.
"""

import argparse
import base64
import hashlib
import http.client
import json
import re
import ssl
import sys
import tarfile
import urllib.parse
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
# At most so much of a layer is in memory at once.
PIECE = 1 << 20
TIMEOUT_S = 60


class Trouble(Exception):
    """What the user has to know."""


class Archive:
    """The blobs of an OCI archive by their digests."""

    def __init__(self, path):
        try:
            self.tar = tarfile.open(path)
            self.members = {member.name.removeprefix("./"): member for member in self.tar if member.isfile()}
            self.top = json.loads(self.file("index.json").read())["manifests"]
        except (OSError, KeyError, ValueError, tarfile.TarError) as error:
            raise Trouble(f"{path} is no OCI archive: {error}") from error

    def file(self, name):
        if name not in self.members:
            raise Trouble(f"the archive has no {name}: it was cut short, build it again")
        return self.tar.extractfile(self.members[name])

    def blob(self, digest):
        return self.file("blobs/" + digest.replace(":", "/"))

    def document(self, digest):
        data = self.blob(digest).read()
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise Trouble(f"{digest} of the archive has other content: it was damaged, build it again")
        return data, json.loads(data)


class Registry:
    """One repository of a registry."""

    def __init__(self, host, repository, words):
        self.host, self.repository, self.http = host, repository, words.http
        self.context = ssl.create_default_context(cafile=words.ca)
        self.basic = None
        if words.user:
            password = Path(words.password_file).read_text().strip()
            self.basic = "Basic " + base64.b64encode(f"{words.user}:{password}".encode()).decode()
        self.authorization = self.basic

    def connect(self, host, plain):
        if plain:
            return http.client.HTTPConnection(host, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=self.context)

    def once(self, method, url, body=None, headers=None):
        parts = urllib.parse.urlsplit(url)
        headers = dict(headers or {})
        ours = not parts.netloc or parts.netloc == self.host
        if self.authorization and ours:
            headers["Authorization"] = self.authorization
        connection = self.connect(parts.netloc or self.host, parts.scheme == "http" or (not parts.scheme and self.http))
        try:
            path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
            connection.request(method, path, body=body, headers=headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            hint = " (is it a registry without TLS? then use --http)" if isinstance(error, ssl.SSLError) else ""
            raise Trouble(f"cannot reach {parts.netloc or self.host}: {error}{hint}") from error

    def call(self, method, url, wanted, body=None, headers=None):
        """An answer with one of the `wanted` statuses. A registry may ask for a token first."""
        for attempt in range(2):
            if hasattr(body, "seek"):
                body.seek(0)
            connection, answer = self.once(method, url, body, headers)
            if answer.status == 401 and attempt == 0 and self.take_token(answer.getheader("WWW-Authenticate", "")):
                connection.close()
                continue
            break
        if answer.status not in wanted:
            said = answer.read(500).decode(errors="replace").strip()
            hint = ": name who you are with --user and --password-file" if answer.status in (401, 403) else ""
            raise Trouble(f"{method} {url} at {self.host} was answered with {answer.status} {answer.reason}{hint} {said}".rstrip())
        return connection, answer

    def take_token(self, challenge):
        """From the place that the registry names; without one, the password itself has to do."""
        if not challenge.lower().startswith("bearer "):
            return False
        told = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = {"service": told.get("service", ""), "scope": f"repository:{self.repository}:pull,push"}
        parts = urllib.parse.urlsplit(told.get("realm", ""))
        connection = self.connect(parts.netloc, parts.scheme == "http")
        headers = {"Authorization": self.basic} if self.basic else {}
        connection.request("GET", f"{parts.path}?{urllib.parse.urlencode(query)}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Trouble(f"{parts.netloc} gives no token ({answer.status}): check --user and --password-file")
        given = json.loads(answer.read())
        self.authorization = "Bearer " + (given.get("token") or given["access_token"])
        return True

    def path(self, kind, name):
        return f"/v2/{self.repository}/{kind}/{name}"

    def has(self, kind, digest, accept=None):
        connection, answer = self.call("HEAD", self.path(kind, digest), (200, 404), headers=accept)
        connection.close()
        return answer.status == 200

    def send_blob(self, digest, size, file):
        """True when it was not there yet."""
        if self.has("blobs", digest):
            return False
        connection, answer = self.call("POST", self.path("blobs", "uploads/"), (202,))
        place = answer.getheader("Location")
        connection.close()
        url = place + ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self.call("PUT", url, (201,), body=file, headers=headers)[0].close()
        return True

    def send_manifest(self, name, data, media):
        self.call("PUT", self.path("manifests", name), (201,), body=data, headers={"Content-Type": media})[0].close()

    def digest_of(self, kind, name, accept=None):
        """The digest of what the registry gives under this name."""
        connection, answer = self.call("GET", self.path(kind, name), (200, 307), headers=accept)
        if answer.status == 307:
            place = answer.getheader("Location")
            connection.close()
            connection, answer = self.once("GET", place)
        total = hashlib.sha256()
        while piece := answer.read(PIECE):
            total.update(piece)
        connection.close()
        return "sha256:" + total.hexdigest()


def images(archive, descriptor):
    """The manifests below a descriptor, those of single images first, with their layers."""
    data, document = archive.document(descriptor["digest"])
    below = [image for entry in document.get("manifests", []) for image in images(archive, entry)]
    blobs = [document["config"], *document["layers"]] if "layers" in document else []
    return [*below, (descriptor, data, blobs)]


def push(archive, registry, tag, descriptor):
    found = images(archive, descriptor)
    blobs = {blob["digest"]: blob["size"] for _, _, blobs in found for blob in blobs}
    sent = sum(registry.send_blob(digest, size, archive.blob(digest)) for digest, size in blobs.items())
    for manifest, data, _ in found:
        registry.send_manifest(manifest["digest"], data, manifest["mediaType"])
    top, data, _ = found[-1]
    registry.send_manifest(tag, data, top["mediaType"])
    for digest in blobs:
        check(digest, registry.digest_of("blobs", digest))
    for manifest, _, _ in found:
        check(manifest["digest"], registry.digest_of("manifests", manifest["digest"], {"Accept": manifest["mediaType"]}))
    check(top["digest"], registry.digest_of("manifests", tag, {"Accept": top["mediaType"]}))
    return sent, len(blobs), len(found)


def check(wanted, found):
    if wanted != found:
        raise Trouble(f"the registry gives {found} where {wanted} was put: its storage is damaged")


def destination(words, name):
    """Host, repository and tag of an image whose published name is REGISTRY/PATH:TAG."""
    host, _, folder = words.registry.rstrip("/").partition("/")
    path, _, tag = name.partition("/")[2].rpartition(":")
    return host, f"{folder}/{path}".lstrip("/"), tag


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("registry", metavar="REGISTRY[/PATH]")
    parser.add_argument("--http", action="store_true", help="the registry has no TLS")
    parser.add_argument("--ca", help="certificates of the registry's authority, PEM")
    parser.add_argument("--user")
    parser.add_argument("--password-file")
    words = parser.parse_args()
    if bool(words.user) != bool(words.password_file):
        parser.error("--user and --password-file go together")
    try:
        archive = Archive(words.archive)
        for descriptor in archive.top:
            name = descriptor.get("annotations", {}).get("io.containerd.image.name")
            if not name:
                raise Trouble(f"{words.archive} does not say what its image is called")
            host, repository, tag = destination(words, name)
            sent, blobs, manifests = push(archive, Registry(host, repository, words), tag, descriptor)
            print(f"{host}/{repository}:{tag}: sent {sent} of {blobs} blobs, {manifests} manifests, all read back by digest")
            print(f"{host}/{repository}@{descriptor['digest']}")
    except (Trouble, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
