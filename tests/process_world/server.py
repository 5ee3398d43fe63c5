# Answers each datagram and each connection with what it got, until it is killed. With `fork` a child answers a connection, with
# `hand` it is handed to a child that does not listen, with `workers` one of two children takes it, with `idle` nobody does.
# With `share` others may have the port, too; with `mptcp` multipath connections are taken, too.
import os, socket, sys, threading, time
words = sys.argv[1:]
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262 if 'mptcp' in words else 0)
for s in udp, tcp:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if 'share' in words: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(('::', 4747))
tcp.listen(500)
def answer(peer):
    try:
        while data := peer.recv(2000): peer.sendall(data)
    except OSError: pass
    peer.close()
def taken(line):
    while fds := socket.recv_fds(line, 1, 1)[1]: answer(socket.socket(fileno=fds[0]))
    os._exit(0)
def datagrams():
    while True: data, peer = udp.recvfrom(2000); udp.sendto(data, peer)
if 'workers' in words and (os.fork() == 0 or os.fork() == 0): words = ['workers', 'worker']
if 'workers' in words and 'worker' not in words: print('ready', flush=True); time.sleep(600)
if 'hand' in words:
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0: tcp.close(); udp.close(); here.close(); taken(there)
    print('child', child, flush=True); there.close()
if words == []: threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while 'idle' not in words:
    peer, _ = tcp.accept()
    if 'worker' in words: print('worker', os.getpid(), flush=True); answer(peer)
    elif 'hand' in words: socket.send_fds(here, [b'x'], [peer.fileno()]); peer.close()
    elif 'fork' not in words: threading.Thread(target=answer, args=(peer,), daemon=True).start()
    elif os.fork() == 0: print('child', os.getpid(), flush=True); tcp.close(); answer(peer); os._exit(0)
    else: peer.close()
datagrams()
