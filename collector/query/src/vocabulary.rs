//! The words of the language of pcap.

/// Words that say of which protocol.
pub(crate) const PROTOCOLS: [&str; 9] = ["ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmp6", "ether"];
/// Words that say what stands behind them.
pub(crate) const KINDS: [&str; 5] = ["host", "net", "port", "portrange", "proto"];
pub(crate) const OTHERS: [&str; 5] = ["src", "dst", "vlan", "less", "greater"];

/// Whether a condition may begin with this word.
pub(crate) fn is_word(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    words().any(|word| word == name)
}

/// All words with which a condition may begin.
pub(crate) fn words() -> impl Iterator<Item = &'static str> + Clone {
    PROTOCOLS.into_iter().chain(KINDS).chain(OTHERS)
}
