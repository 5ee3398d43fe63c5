"""Answers on TCP ports (a line with a number gets that many bytes) and on a UDP port (a datagram comes back twice as long)."""
import socket
import sys
import threading


def answer(connection):
    with connection:
        wanted = int(connection.makefile().readline() or 0)
        connection.sendall(b"x" * wanted)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def tcp(port):
    with socket.create_server(("0.0.0.0", port), backlog=512) as server:
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()


def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", port))
        while True:
            data, sender = server.recvfrom(2000)
            server.sendto(data * 2, sender)


for word in sys.argv[1:]:
    protocol, port = word.split(":")
    threading.Thread(target={"tcp": tcp, "udp": udp}[protocol], args=(int(port),)).start()
print("ready", flush=True)
