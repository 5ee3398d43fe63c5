//! Whose a filter is: its handle holds a number that its agent keeps taken by a socket, for as long as the agent lives. So what a
//! killed agent left is known, also from another pod of the same node.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use crate::netns::Netns;

/// Bits of a handle that distinguish the filters of one agent.
const TRIES_BITS: u32 = 4;
/// Bits above those that are the agent's number.
const NUMBER_BITS: u32 = 20;

/// An agent's handles.
pub(super) struct Owner {
    first: u32,
    /// Keeps the number taken.
    _socket: Option<UnixDatagram>,
}

impl Owner {
    /// A number that no agent has.
    pub(super) fn new() -> Self {
        let namespace = namespace();
        for _ in 0..8 {
            let number = RandomState::new().hash_one(0) as u32 & ((1 << NUMBER_BITS) - 1);
            let first = namespace | number << TRIES_BITS | 1;
            if let Ok(socket) = take(first) {
                return Self { first, _socket: Some(socket) };
            }
        }
        // No socket is to be had: others may take these filters for left ones, and this agent puts them back then.
        Self { first: namespace | 1, _socket: None }
    }

    /// Handles to be tried one after the other.
    pub(super) fn handles(&self) -> std::ops::Range<u32> {
        self.first..self.first + (1 << TRIES_BITS) - 1
    }
}

/// Whether a handle was given by an agent of this network namespace that lives no more.
pub(super) fn is_left(handle: u32) -> bool {
    handle >> (NUMBER_BITS + TRIES_BITS) == namespace() >> (NUMBER_BITS + TRIES_BITS) && take(handle).is_ok()
}

/// Sockets of two network namespaces do not meet: so handles show, roughly, in which one their agent is.
fn namespace() -> u32 {
    Netns::own_inode().unwrap_or(0) << (NUMBER_BITS + TRIES_BITS)
}

fn take(handle: u32) -> io::Result<UnixDatagram> {
    let name = format!("netobserv-agent-{:x}", handle >> TRIES_BITS);
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_left_when_their_agent_is_gone() {
        let owner = Owner::new();
        let handle = owner.handles().nth(3).unwrap();
        assert!(!is_left(handle));
        drop(owner);
        assert!(is_left(handle));
        assert!(!is_left(handle ^ 1 << 31), "of another namespace");
    }
}
