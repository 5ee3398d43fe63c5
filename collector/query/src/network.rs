//! Networks of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `10.0.0.0/8`: the bits of an address, IPv4 in the upper 32 of them, and how many count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    v4: bool,
    bits: u128,
    length: u32,
}

impl Network {
    /// Reads `ADDRESS/LENGTH`. Bits behind the length are left out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok().filter(|_| digits)?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then(|| Self { v4: address.is_ipv4(), bits: bits(address) & mask(length), length })
    }

    /// The network of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { v4: address.is_ipv4(), bits: bits(address), length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// All addresses of a family.
    pub(crate) fn all(v4: bool) -> Self {
        Self { v4, bits: 0, length: 0 }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.v4 && bits(address) & mask(self.length) == self.bits
    }

    /// Whether all of another lies inside.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.v4 == other.v4 && self.length <= other.length && other.bits & mask(self.length) == self.bits
    }

    /// Whether it is of IPv4.
    pub(crate) fn is_v4(self) -> bool {
        self.v4
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v4 {
            write!(f, "{}/{}", Ipv4Addr::from_bits((self.bits >> 96) as u32), self.length)
        } else {
            write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.length)
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}
