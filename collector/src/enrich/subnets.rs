//! Labels of subnets: the longest prefix that contains an address names it.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::index::number;

/// Bits of an address, and those before an IPv4 address in it.
const BITS: u32 = 128;
const BEFORE_IPV4: u32 = 96;

/// Subnets with a label, the longest prefix first.
#[derive(Clone, Debug, Default)]
pub struct Subnets(Vec<Subnet>);

#[derive(Clone, Debug)]
struct Subnet {
    network: u128,
    mask: u128,
    label: Arc<CompactString>,
}

impl Subnets {
    /// Adds `NAME=CIDR[,CIDR...]`.
    ///
    /// # Errors
    /// When it is not of this form: a text with the expected one.
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        let form =
            || format!("\"{word}\" is not of the form NAME=CIDR[,CIDR...], such as Pods=10.128.0.0/14,fd01::/48");
        let (label, list) = word.split_once('=').filter(|(label, _)| !label.is_empty()).ok_or_else(form)?;
        let label: Arc<CompactString> = Arc::new(label.into());
        for text in list.split(',') {
            let (network, mask) = cidr(text.trim()).ok_or_else(form)?;
            self.0.push(Subnet { network: network & mask, mask, label: label.clone() });
        }
        self.0.sort_by_key(|subnet| std::cmp::Reverse(subnet.mask));
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The label of the smallest subnet that contains the address.
    pub fn label(&self, address: IpAddr) -> Option<&Arc<CompactString>> {
        if self.0.is_empty() {
            return None;
        }
        let address = number(address);
        self.0.iter().find(|subnet| address & subnet.mask == subnet.network).map(|subnet| &subnet.label)
    }
}

fn cidr(text: &str) -> Option<(u128, u128)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    let bits = if address.is_ipv4() { Some(bits).filter(|bits| *bits <= 32)? + BEFORE_IPV4 } else { bits };
    (bits <= BITS).then(|| (number(address), u128::MAX.checked_shl(BITS - bits).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_names_an_address() {
        let mut subnets = Subnets::default();
        for word in ["All=0.0.0.0/0", "Pods=10.128.0.0/14, fd01::/48", "Mine=10.128.1.7/24"] {
            subnets.add(word).unwrap();
        }
        let wanted = [
            ("8.8.8.8", Some("All")),
            ("10.129.0.1", Some("Pods")),
            ("10.128.1.9", Some("Mine")),
            ("fd01::9", Some("Pods")),
            ("fd02::9", None),
        ];
        for (address, label) in wanted {
            assert_eq!(subnets.label(address.parse().unwrap()).map(|label| label.as_str()), label, "{address}");
        }
    }

    #[test]
    fn a_wrong_word_is_told() {
        for word in
            ["", "Pods", "=10.0.0.0/8", "Pods=", "Pods=10.0.0.0", "Pods=10.0.0.0/33", "Pods=fd00::/129", "P=x/8"]
        {
            assert!(Subnets::default().add(word).unwrap_err().contains("NAME=CIDR"), "{word}");
        }
    }
}
