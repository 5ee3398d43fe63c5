//! A peer that speaks just enough HTTP/2 to begin a message and not to end it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// Frame types and flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const STREAM: u32 = 1;

/// A request whose message is under way.
pub struct Begun(TcpStream);

impl Begun {
    /// Connects from an address, and begins a message that claims to have so many bytes.
    #[track_caller]
    pub fn message(from: IpAddr, to: SocketAddr, path: &str, claimed: u32) -> Self {
        let mut stream = connect(from, to);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        frame(&mut bytes, HEADERS, END_HEADERS, STREAM, &headers(path));
        let mut prefix = vec![0];
        prefix.extend(claimed.to_be_bytes());
        frame(&mut bytes, DATA, 0, STREAM, &prefix);
        stream.write_all(&bytes).expect("a collector that reads");
        Self(stream)
    }

    /// Sends some bytes of the message; false when the collector has closed the connection.
    pub fn send(&mut self, part: &[u8]) -> bool {
        let mut bytes = vec![];
        frame(&mut bytes, DATA, 0, STREAM, part);
        self.0.write_all(&bytes).is_ok()
    }
}

/// A connection from one of this machine's addresses.
#[track_caller]
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
        socket.connect(to).await.expect("a collector that listens")
    });
    let stream = stream.into_std().expect("a stream");
    stream.set_nonblocking(false).expect("a stream");
    stream
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// POST over http, from the static table, and literals without an index (RFC 7541, 6).
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "collector");
    literal(&[0x0f, 0x10], "application/grpc");
    block
}
