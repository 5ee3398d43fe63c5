"""What the pods of the recorded scenes do: workload.py ROLE ADDRESS...

postgresql          answers whoever connects to port 5432
dns                 answers queries: a name that ends in .cluster.local is there, others are not
nodejs DB DNS       asks the database once a second, and the name server for its name, sometimes a wrong one; serves port 8080
router NODEJS DNS   asks port 8080, and the name server, once a second
"""

import socket
import struct
import sys
import threading
import time

RIGHT, WRONG = "postgresql.sample-app.svc.cluster.local", "postgres.sample-app.svc"


def serve(port, answer):
    listener = socket.create_server(("", port), backlog=64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def reply(size):
    def answer(connection):
        with connection:
            if connection.recv(4096):
                connection.sendall(b"x" * size)

    return answer


def ask(address, port, size, patience):
    try:
        with socket.create_connection((address, port), timeout=patience) as connection:
            connection.sendall(b"q" * size)
            while connection.recv(65536):
                pass
    except OSError:
        pass


def dns():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", 53))
    while True:
        query, client = server.recvfrom(512)
        end = query.index(b"\0", 12)
        found = query[12:end].endswith(b"\x07cluster\x05local")
        header = query[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, int(found), 0, 0)
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\x4d\x02\x0a" if found else b""
        server.sendto(header + query[12 : end + 5] + record, client)


def look_up(server, name, number):
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.sendto(struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + question, (server, 53))
        try:
            client.recv(512)
        except OSError:
            pass


def every_second(work):
    number = 1
    while True:
        begun = time.monotonic()
        work(number)
        number += 1
        time.sleep(max(0.0, 1.0 - (time.monotonic() - begun)))


def nodejs(database, names):
    threading.Thread(target=serve, args=(8080, reply(3000)), daemon=True).start()

    def work(number):
        look_up(names, WRONG if number % 2 else RIGHT, number)
        ask(database, 5432, 200, 0.4)

    every_second(work)


def router(server, names):
    def work(number):
        look_up(names, RIGHT, number)
        ask(server, 8080, 500, 0.6)

    every_second(work)


role, *addresses = sys.argv[1:]
if role == "postgresql":
    serve(5432, reply(1200))
elif role == "dns":
    dns()
elif role == "nodejs":
    nodejs(*addresses)
else:
    router(*addresses)
