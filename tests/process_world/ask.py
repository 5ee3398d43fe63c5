# Asks a few times over a socket of UDP and is gone; prints its process.
import os, socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)
s.connect((sys.argv[1], 4747))
for _ in range(3): s.send(b'x' * 100); s.recv(2000)
print(os.getpid())
