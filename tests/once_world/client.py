"""Talks to targets in a random order, several at a time, and prints one line for each: protocol, own port, address, port.

Each conversation has a port of its own: where a bridge shows packets with one address translated and the other not yet, two connections
from one port through two Services look like one in the file.
"""
import random
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

seed, count, *targets = sys.argv[1:]
dice = random.Random(seed)
# The seeds from 7 on have ports of their own.
FIRST_PORT = 20_000 + (int(seed) - 7) * int(count) % 40_000


def talk(own, target, size):
    protocol, address, port = target.split(":")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(20)
        client.bind(("0.0.0.0", own))
        client.connect((address, int(port)))
        if protocol == "tcp":
            client.sendall(b"%d\n" % size)
            got = sum(len(part) for part in iter(lambda: client.recv(65536), b""))
            assert got == size, (target, got, size)
        else:
            client.send(b"q" * (size % 500 + 1))
            client.recv(2000)
    return f"{protocol} {own} {address} {port}"


work = [(dice.choice(targets), dice.randrange(20_000)) for _ in range(int(count))]
with ThreadPoolExecutor(16) as pool:
    done = [pool.submit(talk, own, target, size) for own, (target, size) in enumerate(work, FIRST_PORT)]
    failed = [f"{target}: {each.exception()!r}" for (target, _), each in zip(work, done) if each.exception()]
    print(*(each.result() for each in done if not each.exception()), sep="\n")
    sys.exit("\n".join(failed) or 0)
