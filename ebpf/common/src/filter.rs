//! The filter rules as the kernel programs read them.
//!
//! Rule number n is bit n of a `u64`. Each table answers one question about a packet ("which rules can still match,
//! seeing this protocol?"); the answers are ANDed, and the lowest bit left is the first rule that matches. So a packet
//! costs the same with one rule and with 64. A rule without a condition on something has its bit set in every
//! entry of that table.

/// Most rules of a list.
pub const MAX_RULES: usize = 64;
/// Longest lists of prefixes: `ip_cidr` and a peer for each rule.
pub const MAX_PREFIXES: usize = 2 * MAX_RULES;

/// In the place of a bank: there are no rules, and every packet is kept by SAMPLING.
pub const NO_RULES: u32 = 2;

/// `Point::direction` of packets that were seen at no interface, such as dropped ones: conditions on the
/// direction are passed.
pub const DIRECTION_UNKNOWN: u8 = 2;

/// First byte but one of [`AddressKey`] for IPv4.
pub const FAMILY_4: u8 = 4;
/// The same for IPv6.
pub const FAMILY_6: u8 = 6;

/// What one packet is looked up in, apart from ports and addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tables {
    /// By IP protocol number; 0 for frames without IP as well.
    pub proto: [u64; 256],
    /// By the flags byte of the TCP header.
    pub tcp_flags: [u64; 256],
    /// By type of ICMP or ICMPv6.
    pub icmp_type: [u64; 256],
    /// By code of ICMP or ICMPv6.
    pub icmp_code: [u64; 256],
    /// By direction: in, out, unknown.
    pub direction: [u64; 4],
    /// Rules that only dropped packets match.
    pub drops: u64,
    /// Rules that Reject.
    pub rejects: u64,
    /// Rules with conditions on ports.
    pub with_ports: u64,
    /// Rules with conditions on TCP flags.
    pub with_flags: u64,
    /// Rules with conditions on ICMP type or code.
    pub with_icmp: u64,
    /// Rules with conditions on addresses.
    pub with_addresses: u64,
    /// Those of them that name sets of addresses.
    pub with_sets: u64,
    /// What addresses outside all prefixes get.
    pub elsewhere: AddressMasks,
    /// Of the packets that match rule n, 1 in so many is kept. Never 0.
    pub samples: [u32; MAX_RULES],
    /// The same for packets that match no rule; 0 = none is kept.
    pub other_sample: u32,
    /// 1: some rule has a sample of its own.
    pub samples_differ: u32,
    /// Number of this list of rules; never 0.
    pub number: u32,
    /// 1: some elements of the sets are ports of addresses.
    pub set_ports: u32,
}

/// The verdict of a list of rules on a packet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Addresses in four words (IPv4 in the first), then ports, protocol, flags, direction and family.
    pub words: [u64; 5],
    /// 1 in so many is kept; 0 = none.
    pub sampling: u32,
    /// Number of the list; 0 = no verdict.
    pub rules: u32,
}

/// Verdicts that each CPU remembers, in 384 KiB. A power of two.
pub const VERDICTS: u32 = 8192;

/// Rules that a port fits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortMasks {
    /// As source port.
    pub src: u64,
    /// As destination port.
    pub dst: u64,
    /// As either: conditions on `port`.
    pub any: u64,
}

/// Entries of a bank of [`PortMasks`].
pub const PORTS: u32 = 65_536;

/// Rules that an address fits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddressMasks {
    /// As the address of `ip_cidr`.
    pub cidr: u64,
    /// As its peer.
    pub peer: u64,
}

/// What follows the prefix length in a key of the address table: bank, family, two zeros, then the address; IPv4 in
/// the first four of its bytes.
pub type AddressKey = [u8; 20];
/// Bits before the address.
pub const ADDRESS_BITS: u32 = 32;

/// Most elements of all sets together, in each of the two lists of rules.
pub const MAX_SET_ELEMENTS: usize = 100_000;
/// Entries of the table of elements, which serves both banks: an element that is in both has one entry.
pub const SET_ENTRIES: u32 = 2 * MAX_SET_ELEMENTS as u32;
/// Most different answers to "which rules does an element fit?", of each bank. The first is that of addresses in no set.
pub const SET_CLASSES: u32 = 1024;

/// An element of a set of addresses: family, protocol and port (network order), then the address; IPv4 in the first four of its
/// bytes. Protocol and port are 0 for all that has the address.
pub type SetKey = [u8; 20];
/// By bank, the class of an element.
pub type SetClass = [u16; 2];

/// Rules that an element of the sets fits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetMasks {
    /// As the end that a rule is about.
    pub this: u64,
    /// As the other end.
    pub peer: u64,
    /// Rules that no packet from or to it matches.
    pub not: u64,
}

const _: () = {
    assert!(size_of::<Tables>() == 4 * 2048 + 4 * 8 + 7 * 8 + 16 + 256 + 16);
    assert!(size_of::<SetMasks>() == 24 && size_of::<SetKey>() == 20 && size_of::<SetClass>() == 4);
    assert!(size_of::<Verdict>() == 48 && VERDICTS.is_power_of_two());
    assert!(size_of::<PortMasks>() == 24);
    assert!(size_of::<AddressMasks>() == 16);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), Copy, without padding, and any bit pattern is a valid value.
    unsafe impl aya::Pod for super::Tables {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PortMasks {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::AddressMasks {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SetMasks {}
}
