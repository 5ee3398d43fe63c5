//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection; without an address it is a program on this machine, at a Unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer(Option<SocketAddr>);

impl Peer {
    /// The peer at an address. One of IPv4 is the same however the socket shows it.
    pub fn at(address: SocketAddr) -> Self {
        Self(Some(SocketAddr::new(address.ip().to_canonical(), address.port())))
    }

    /// Its address, without the port: what several of its connections have in common.
    pub fn address(self) -> Option<IpAddr> {
        self.0.map(|address| address.ip())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("this machine"),
        }
    }
}
