# Talks over one socket of port 4848 until it is told to end: `tcp` or `udp`, to an address. With `pass` it makes a connection
# and leaves it to a child.
import os, socket, sys, time
kind, host = sys.argv[1:3]
family = socket.AF_INET6 if ':' in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 4848)); s.settimeout(1); s.connect((host, 4747))
if 'pass' in sys.argv:
    if os.fork() > 0: s.close(); time.sleep(600)
    print('child', os.getpid(), flush=True)
while True:
    try: s.send(b'x' * 100); s.recv(2000); print('answered', flush=True)
    except OSError: pass
    time.sleep(0.05)
