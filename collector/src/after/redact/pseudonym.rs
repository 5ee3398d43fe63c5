//! What replaces an address or a name: the same for the same in one run, and different in the next one.
//!
//! All of it follows from a key of random bytes, which is kept in memory only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::anyhow;
use compact_str::CompactString;
use netobserv_wire::flow::Mac;
use sha2::{Digest, Sha256};

/// Bits of the number of a conversation, see `once/conversation.rs`.
const ID_BITS: u32 = 53;
/// No letter that is easily read as another one.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Words that every cluster or machine has.
const COMMON: [&str; 48] = [
    "_tcp",
    "_udp",
    "arpa",
    "br-ex",
    "br-int",
    "cluster",
    "cni0",
    "com",
    "coredns",
    "cronjob",
    "daemonset",
    "default",
    "deployment",
    "deploymentconfig",
    "docker0",
    "in-addr",
    "init",
    "internal",
    "io",
    "ip6",
    "job",
    "kube-dns",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "kubepods",
    "kubernetes",
    "lo",
    "local",
    "localhost",
    "machines",
    "net",
    "node",
    "openshift-dns",
    "org",
    "pod",
    "pods",
    "podman0",
    "primary",
    "replicaset",
    "replicationcontroller",
    "scope",
    "service",
    "services",
    "slice",
    "statefulset",
    "svc",
    "system",
];
/// Interfaces with one of these names and a number are alike on all machines.
const INTERFACES: [&str; 8] = ["eth", "ens", "eno", "wlan", "tun", "tap", "bond", "ovn-k8s-mp"];
/// What separates the parts of a name: labels of DNS, directories, interfaces of a namespace.
const SEPARATORS: [char; 4] = ['.', '/', '@', ','];

/// Replaces addresses and names.
pub(super) struct Pseudonyms {
    key: [u8; 32],
    names: HashMap<CompactString, CompactString>,
    addresses: HashMap<IpAddr, IpAddr>,
}

impl Pseudonyms {
    /// With a key of its own.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut key = [0; 32];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut key).map_err(|_| anyhow!("the system has no random bytes for a key"))?;
        Ok(Self { key, names: HashMap::new(), addresses: HashMap::new() })
    }

    /// How many addresses and names were replaced.
    pub(super) fn counts(&self) -> (usize, usize) {
        let replaced = self.names.iter().filter(|(name, instead)| name != instead);
        (self.addresses.iter().filter(|(address, instead)| address != instead).count(), replaced.count())
    }

    fn digest(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(what);
        hash.update([0]);
        hash.update(bytes);
        hash.finalize().into()
    }

    /// The number that replaces that of a conversation: it follows from addresses and ports, which could be tried one after the other.
    pub(super) fn conversation(&self, id: u64) -> u64 {
        if id == 0 { 0 } else { (self.number("conversation", id) >> (u64::BITS - ID_BITS)).max(1) }
    }

    /// The number that replaces another one.
    pub(super) fn number(&self, what: &str, number: u64) -> u64 {
        let digest = self.digest(what, &number.to_le_bytes());
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }

    /// The text that replaces a name, part by part: the namespace in a name of DNS is the namespace of a pod. Words that all clusters
    /// have stay, and addresses are replaced as such.
    pub(super) fn name(&mut self, name: &str) -> CompactString {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let instead = self.address_in(name).unwrap_or_else(|| self.parts(name)).into();
        self.names.insert(name.into(), CompactString::clone(&instead));
        instead
    }

    fn address_in(&mut self, name: &str) -> Option<String> {
        if let Ok(address) = name.parse() {
            return Some(self.address(address).to_string());
        }
        let reversed = name.trim_end_matches('.').strip_suffix(".in-addr.arpa")?;
        let forward: Vec<_> = reversed.rsplit('.').collect();
        let instead = self.address(IpAddr::V4(forward.join(".").parse().ok()?)).to_string();
        Some(format!("{}.in-addr.arpa", instead.rsplit('.').collect::<Vec<_>>().join(".")))
    }

    fn parts(&self, name: &str) -> String {
        name.split_inclusive(SEPARATORS).fold(String::new(), |mut out, part| {
            let bare = part.trim_end_matches(SEPARATORS);
            if is_common(bare) {
                out.push_str(bare);
            } else {
                let digest = self.digest("name", bare.to_lowercase().as_bytes());
                out.push_str("name-");
                out.extend(digest.iter().take(8).map(|byte| char::from(LETTERS[usize::from(byte & 31)])));
            }
            out.push_str(&part[bare.len()..]);
            out
        })
    }

    /// The address that replaces this one: of the same kind (private stays private), with as long a common prefix with others as
    /// before.
    pub(super) fn address(&mut self, address: IpAddr) -> IpAddr {
        if let Some(known) = self.addresses.get(&address) {
            return *known;
        }
        let instead = match address {
            IpAddr::V4(address) => self.v4(address).into(),
            IpAddr::V6(address) => self.v6(address).into(),
        };
        self.addresses.insert(address, instead);
        instead
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let Some(kept) = kept_v4(address) else { return address };
        let mut bits = u128::from(u32::from(address));
        loop {
            bits = self.permuted("4", bits, 32, kept);
            let instead = Ipv4Addr::from(bits as u32);
            // A public address stays one: the permutation is applied until it is.
            if kept > 0 || kept_v4(instead) == Some(0) {
                return instead;
            }
        }
    }

    fn v6(&self, address: Ipv6Addr) -> Ipv6Addr {
        let segments = address.segments();
        // IPv4 in IPv6: RFC 4291 2.5.5.2, RFC 6052 2.1.
        if matches!(segments, [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..]) {
            let bits = u128::from(address);
            let inner = self.v4(Ipv4Addr::from(bits as u32));
            return Ipv6Addr::from(bits >> 32 << 32 | u128::from(u32::from(inner)));
        }
        match kept_v6(address) {
            Some(kept) => Ipv6Addr::from(self.permuted("6", address.into(), 128, kept)),
            None => address,
        }
    }

    /// Each bit behind the first `kept` is inverted or not, as a hash of the bits before it decides: so equal prefixes stay equal.
    fn permuted(&self, what: &str, bits: u128, width: u32, kept: u32) -> u128 {
        (kept..width).fold(bits, |out, at| {
            let prefix = bits.checked_shr(width - at).unwrap_or(0);
            let mut input = [0; 17];
            input[..16].copy_from_slice(&prefix.to_be_bytes());
            input[16] = at as u8;
            out ^ u128::from(self.digest(what, &input)[0] & 1) << (width - 1 - at)
        })
    }

    /// The MAC address that replaces this one. Groups stay groups; those that all machines have stay as they are.
    pub(super) fn mac(&self, mac: Mac) -> Mac {
        let kept = match mac {
            [0, 0, 0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] | [0x01, 0x80, 0xc2, ..] => 6,
            [0x01, 0x00, 0x5e, 0, 0, _] | [0x33, 0x33, 0, 0, 0, _] => 6,
            [0x01, 0x00, 0x5e, ..] => 3,
            [0x33, 0x33, ..] => 2,
            _ => 0,
        };
        let mut instead = mac;
        instead[kept..].copy_from_slice(&self.digest("mac", &mac)[kept..6]);
        if kept == 0 {
            // Locally administered, and a group if it was one (IEEE 802, 8.2).
            instead[0] = instead[0] & 0xfc | 0x02 | mac[0] & 0x01;
        }
        instead
    }
}

fn is_common(part: &str) -> bool {
    let lower = part.to_lowercase();
    let number = |begin: &str| {
        lower
            .strip_prefix(begin)
            .is_some_and(|rest| !rest.is_empty() && rest.len() < 4 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    part.is_empty() || COMMON.contains(&lower.as_str()) || INTERFACES.iter().any(|begin| number(begin))
}

/// The bits that give an address its kind; none: it is the same everywhere.
fn kept_v4(address: Ipv4Addr) -> Option<u32> {
    Some(match address.octets() {
        [0 | 127, ..] | [224, 0, 0, _] | [255, 255, 255, 255] => return None,
        [10, ..] => 8,
        [172, 16..=31, ..] => 12,
        [100, 64..=127, ..] => 10,
        [192, 168, ..] | [169, 254, ..] => 16,
        [224..=255, ..] => 4,
        _ => 0,
    })
}

fn kept_v6(address: Ipv6Addr) -> Option<u32> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        // Groups that RFC 4291 and IANA define, and those of one host's address (RFC 4291, 2.7.1).
        [0xff00..=0xffff, 0, 0, 0, 0, 0, 0 | 1, group] if group < 0x1000 => return None,
        [0xff00..=0xffff, 0, 0, 0, 0, 1, 0xff00..=0xffff, _] => 104,
        [0xff00..=0xffff, ..] => 16,
        [0xfe80, ..] => 64,
        [0xfc00..=0xfdff, ..] => 8,
        _ => 3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: [&str; 2]) -> [IpAddr; 2] {
        texts.map(|text| text.parse().unwrap())
    }

    fn common_bits([one, other]: [IpAddr; 2]) -> u32 {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other)).leading_zeros(),
            _ => 0,
        }
    }

    #[test]
    fn addresses_keep_their_kind_and_common_prefix() {
        let mut names = Pseudonyms::new().unwrap();
        for pair in [
            ["10.1.2.3", "10.1.2.4"],
            ["10.1.2.3", "10.200.2.3"],
            ["172.20.1.1", "172.20.2.1"],
            ["93.184.216.34", "93.184.216.35"],
            ["2001:db8::1", "2001:db8::1:0:0:2"],
            ["fe80::1", "fe80::2"],
        ] {
            let pair = addresses(pair);
            let instead = pair.map(|address| names.address(address));
            assert_eq!(common_bits(instead), common_bits(pair), "{pair:?}: {instead:?}");
            assert_eq!(instead, pair.map(|address| names.address(address)), "the same again");
            let kind = |address: IpAddr| match address {
                IpAddr::V4(address) => kept_v4(address),
                IpAddr::V6(address) => kept_v6(address),
            };
            assert_eq!(instead.map(kind), pair.map(kind));
        }
        for fixed in ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.251", "::", "::1", "ff02::fb"] {
            let [address, _] = addresses([fixed; 2]);
            assert_eq!(names.address(address), address);
        }
        let [mapped, plain] = addresses(["::ffff:10.1.2.3", "10.1.2.3"]);
        assert_eq!(names.address(mapped).to_string(), format!("::ffff:{}", names.address(plain)));
    }

    #[test]
    fn a_public_address_does_not_become_a_private_one() {
        let mut names = Pseudonyms::new().unwrap();
        for number in 0..2_000_u32 {
            let address = Ipv4Addr::from(number.wrapping_mul(0x9e37_79b9));
            if kept_v4(address) == Some(0) {
                let IpAddr::V4(instead) = names.address(address.into()) else { panic!("{address}") };
                assert_eq!(kept_v4(instead), Some(0), "{address}: {instead}");
            }
        }
    }

    #[test]
    fn names_are_replaced_part_by_part() {
        let mut names = Pseudonyms::new().unwrap();
        let [namespace, pod] = ["shop", "checkout-7d9f"].map(|name| names.name(name));
        assert_eq!(
            names.name("Checkout-7d9f.shop.svc.cluster.local."),
            format!("{pod}.{namespace}.svc.cluster.local.")
        );
        assert_eq!(names.name("shop/eth0"), format!("{namespace}/eth0"));
        assert_eq!(names.name("eth0@shop"), format!("eth0@{namespace}"));
        assert_eq!(names.name("Deployment"), "Deployment");
        assert_eq!(names.name(""), "");
        let address = names.address("10.1.2.3".parse().unwrap()).to_string();
        assert_eq!(names.name("10.1.2.3"), address);
        let reversed: Vec<_> = address.rsplit('.').collect();
        assert_eq!(names.name("3.2.1.10.in-addr.arpa"), format!("{}.in-addr.arpa", reversed.join(".")));
        let other = Pseudonyms::new().unwrap().name("shop");
        assert!(namespace.starts_with("name-") && namespace != other, "{namespace} {other}: each run has its key");
    }

    #[test]
    fn mac_addresses_of_groups_stay_groups() {
        let names = Pseudonyms::new().unwrap();
        let instead = names.mac([0x00, 0x1b, 0x21, 1, 2, 3]);
        assert_eq!((instead[0] & 0x03, instead != [0x00, 0x1b, 0x21, 1, 2, 3]), (0x02, true));
        assert_eq!(names.mac([0xff; 6]), [0xff; 6]);
        assert_eq!(names.mac([0x33, 0x33, 0xff, 1, 2, 3])[..2], [0x33, 0x33]);
    }
}
