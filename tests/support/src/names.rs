//! DNS over UDP between two namespaces: queries for names, and a server that answers them as a test wants.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::netns::Netns;

/// How often the server checks whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A query for the A records of a name.
pub fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = [id, 0x100, 1, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Asks for names, one after the other, each from a port of its own. The server answers with the response code that `code` has for
/// the query's text; without one there is no answer, and none is waited for.
///
/// # Panics
/// When an answer does not come.
#[track_caller]
pub fn resolve(
    (client, from): (&Netns, &str),
    (server, to): (&Netns, &str),
    names: &[&str],
    code: impl Fn(&str) -> Option<u8> + Sync,
) {
    let socket = server.enter(|| UdpSocket::bind((to, 53))).expect("port 53");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                answer(&socket, &code);
            }
        });
        for (id, name) in (1..).zip(names) {
            let client = client.enter(|| UdpSocket::bind((from, 0))).expect("a socket");
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            client.send_to(&query(id, name), (to, 53)).expect("a network");
            if code(name).is_some() {
                client.recv(&mut [0; 512]).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
        stop.store(true, Relaxed);
    });
}

fn answer(socket: &UdpSocket, code: impl Fn(&str) -> Option<u8>) {
    let mut buffer = [0; 512];
    let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
    let Some(code) = code(&String::from_utf8_lossy(&buffer[..length])) else { return };
    (buffer[2], buffer[3]) = (0x81, 0x80 | code);
    let _ = socket.send_to(&buffer[..length], from);
}
