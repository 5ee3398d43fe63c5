#!/usr/bin/env python3
"""Traffic for the demo that no small package makes: a DNS server, a DNS client, and a bulk sender with its receiver."""

import itertools
import random
import socket
import struct
import sys
import time

NAMES = {"www.demo.test": "10.77.0.2", "db.demo.test": "10.77.0.20", "mail.demo.test": "10.77.0.25"}
BULK_PORT = 5201
BULK_BYTES_A_SECOND = 40_000_000


def question_name(packet):
    """Name in the first question, and the offset behind it."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii"))
        at += 1 + packet[at]
    return ".".join(labels), at + 5


def dns_answer(query):
    """A record for a name of ours, else NXDOMAIN."""
    name, end = question_name(query)
    address = NAMES.get(name)
    flags, count = (0x8580, 1) if address else (0x8583, 0)
    header = query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address) if address else b""
    return header + query[12:end] + record


def dns_query(name):
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    head = struct.pack(">HHHHHH", random.randrange(1, 65536), 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", 1, 1)


def dns_server(host):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((host, 53))
    while True:
        query, client = server.recvfrom(512)
        server.sendto(dns_answer(query), client)


def dns_client(host):
    for name in itertools.cycle([*NAMES, "nobody.demo.test"]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((host, 53))
            try:
                client.send(dns_query(name))
                client.recv(512)
            except OSError:
                pass
        time.sleep(0.1)


def bulk_server(host):
    with socket.create_server((host, BULK_PORT)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                while connection.recv(1 << 16):
                    pass


def bulk_client(host):
    """Sends at a steady rate until it is ended."""
    chunk = bytes(BULK_BYTES_A_SECOND // 50)
    while True:
        try:
            with socket.create_connection((host, BULK_PORT), timeout=2) as connection:
                while True:
                    connection.sendall(chunk)
                    time.sleep(0.02)
        except OSError:
            time.sleep(0.1)


ROLES = {"dns-server": dns_server, "dns-client": dns_client, "bulk-server": bulk_server, "bulk-client": bulk_client}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ROLES:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(ROLES)} ADDRESS")
    ROLES[sys.argv[1]](sys.argv[2])
