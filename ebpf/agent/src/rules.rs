//! Filter rules: what they mean, apart from how they are written ([`parse`]) and how the kernel evaluates them
//! ([`compile`]).
//!
//! A list is read from the top; the first rule that a packet matches decides. All conditions of a rule hold together.
//! A packet that no rule matches is kept only when every rule is Reject.

use std::{net::IpAddr, num::NonZeroU32, ops::RangeInclusive};

pub mod compile;
pub mod narrow;
pub mod parse;
pub mod sets;

// Protocol numbers: IANA "Assigned Internet Protocol Numbers".
/// ICMP of IPv4.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP of IPv6.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;

/// What becomes of a packet that matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is kept.
    Accept,
    /// It is not.
    Reject,
}

/// One rule; a condition that is None holds for every packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// `action`.
    pub action: Action,
    /// `ip_cidr`: one end of the packet lies in it, and the other in `peer`.
    pub cidr: Option<Prefix>,
    /// `peer_ip` or `peer_cidr`.
    pub peer: Option<Prefix>,
    /// `set`: the end of `cidr` is in the set of this number.
    pub set: Option<NonZeroU32>,
    /// `peer_set`: the other end is in this one.
    pub peer_set: Option<NonZeroU32>,
    /// `not_set`: neither end is in this one.
    pub not_set: Option<NonZeroU32>,
    /// `direction`: [`netobserv_ebpf_common::INGRESS`] or EGRESS.
    pub direction: Option<u8>,
    /// `protocol`, by its number.
    pub protocol: Option<u8>,
    /// `source_port` and its kin.
    pub source_port: Option<Ports>,
    /// `destination_port` and its kin.
    pub destination_port: Option<Ports>,
    /// `port` and its kin: the source port or the destination port fits.
    pub port: Option<Ports>,
    /// `icmp_type`, of ICMP or ICMPv6.
    pub icmp_type: Option<u8>,
    /// `icmp_code`, of ICMP or ICMPv6.
    pub icmp_code: Option<u8>,
    /// `tcp_flags`.
    pub tcp_flags: Option<TcpFlags>,
    /// `drops`: only dropped packets match.
    pub drops: bool,
    /// `sample`: 1 in so many of the packets that match is kept, instead of SAMPLING.
    pub sample: Option<NonZeroU32>,
}

impl Rule {
    /// A rule that every packet matches.
    pub fn all(action: Action) -> Self {
        Self {
            action,
            cidr: None,
            peer: None,
            set: None,
            peer_set: None,
            not_set: None,
            direction: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            port: None,
            icmp_type: None,
            icmp_code: None,
            tcp_flags: None,
            drops: false,
            sample: None,
        }
    }

    /// Whether it has a condition on ports; such a rule matches TCP, UDP and SCTP only.
    pub fn has_ports(&self) -> bool {
        self.source_port.is_some() || self.destination_port.is_some() || self.port.is_some()
    }

    /// Whether it names a set of addresses.
    pub fn has_sets(&self) -> bool {
        self.set.is_some() || self.peer_set.is_some() || self.not_set.is_some()
    }

    /// Whether it has a condition that only ICMP and ICMPv6 can meet.
    pub fn has_icmp(&self) -> bool {
        self.icmp_type.is_some() || self.icmp_code.is_some()
    }
}

/// Port numbers: a single one, a range, or a list.
pub type Ports = Vec<RangeInclusive<u16>>;

/// Whether a port is one of them.
pub fn holds(ports: &Ports, port: u16) -> bool {
    ports.iter().any(|range| range.contains(&port))
}

/// A network: an address whose bits after `length` are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of that length that an address lies in; None if the length is too large for its family.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => (v4.to_bits() & mask32(length)).to_be_bytes().into(),
            IpAddr::V6(v6) if length <= 128 => (v6.to_bits() & mask128(length)).to_be_bytes().into(),
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits that are fixed.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && Self::new(other.address, self.length).as_ref() == Some(self)
    }
}

fn mask32(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask128(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// A condition on the flags byte of the TCP header (RFC 9293, 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags {
    /// The flags that are compared.
    pub mask: u8,
    /// Those of them that have to be set.
    pub set: u8,
}

impl TcpFlags {
    /// Whether a header with these flags fits.
    pub fn fit(self, flags: u8) -> bool {
        flags & self.mask == self.set
    }

    /// Of the words of `tcp_flags`; None for others. The connection's own flags are distinguished by whether ACK
    /// goes with them; the rest means only that the bit is set.
    pub fn of(word: &str) -> Option<Self> {
        const FIN: u8 = 0x01;
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        let (mask, set) = match word.to_ascii_uppercase().as_str() {
            "SYN" => (SYN | ACK, SYN),
            "FIN" => (FIN | ACK, FIN),
            "RST" => (RST | ACK, RST),
            "SYN-ACK" => (SYN | ACK, SYN | ACK),
            "FIN-ACK" => (FIN | ACK, FIN | ACK),
            "RST-ACK" => (RST | ACK, RST | ACK),
            "ACK" => (ACK | SYN | FIN | RST, ACK),
            "PSH" | "PUSH" => (0x08, 0x08),
            "URG" => (0x20, 0x20),
            "ECE" => (0x40, 0x40),
            "CWR" => (0x80, 0x80),
            _ => return None,
        };
        Some(Self { mask, set })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, length: u8) -> Prefix {
        Prefix::new(text.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn prefixes_keep_to_their_family() {
        assert_eq!(prefix("10.1.2.3", 8), prefix("10.0.0.0", 8));
        assert!(prefix("10.0.0.0", 8).covers(&prefix("10.1.2.3", 32)));
        assert!(prefix("0.0.0.0", 0).covers(&prefix("10.1.2.3", 32)));
        assert!(!prefix("10.1.0.0", 16).covers(&prefix("10.0.0.0", 8)));
        assert!(!prefix("0.0.0.0", 0).covers(&prefix("::", 0)));
        assert!(!prefix("10.0.0.0", 8).covers(&prefix("a00::", 8)));
        assert_eq!(Prefix::new("10.0.0.0".parse().unwrap(), 33), None);
    }

    #[test]
    fn flags_that_open_and_close_are_told_apart_by_ack() {
        let fits = |word, flags| TcpFlags::of(word).unwrap().fit(flags);
        assert!(fits("SYN", 0x02) && fits("SYN", 0xc2) && !fits("SYN", 0x12));
        assert!(fits("SYN-ACK", 0x12) && !fits("syn-ack", 0x10));
        assert!(fits("ACK", 0x10) && fits("ACK", 0x18) && !fits("ACK", 0x11));
        assert!(fits("PSH", 0x18) && fits("PUSH", 0x18) && fits("psh", 0x08));
        assert_eq!(TcpFlags::of("NS"), None);
    }
}
