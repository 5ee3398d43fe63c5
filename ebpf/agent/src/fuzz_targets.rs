//! Each function that reads bytes of others, with what must hold whatever they are. `fuzz/` feeds
//! them with inputs that are invented, a test with those that are kept in `fuzz/corpus`.

use std::time::Duration;

use netobserv_ebpf_common::{DNS_MOST, DNS_PIECE, DnsHead, ETH_IPV4, Key6, Point};

use crate::{
    conntrack::read_any,
    dns::{Tracker, message},
    flow::Transaction,
    rules::{compile::compile, narrow::narrow, parse::parse, sets::Sets},
};

/// A function that reads bytes of others, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them by name: the name of a folder in `fuzz/corpus`.
pub const ALL: [Target; 4] = [("conntrack", read_any), ("dns", dns), ("dns-tcp", dns_tcp), ("rules", rules)];

const PATIENCE: Duration = Duration::from_secs(5);

/// What a DNS server, or another program at its port, has sent over UDP.
fn dns(bytes: &[u8]) {
    if let Some(message) = message(bytes, bytes.len()) {
        let name = message.name.unwrap_or_default();
        // At most 253 characters that each may need four.
        assert!(name.len() <= 4 * 253 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
    let mut tracker = Tracker::new(PATIENCE);
    for (number, piece) in bytes.chunks(DNS_MOST).enumerate() {
        tracker.see(&head(17, number as u64), piece);
    }
    assert_few(tracker, bytes.len());
}

/// The same over TCP: segments in any order, each as three bytes (how far it lies behind the one before, how long it is, SYN and
/// direction), and what it carries.
fn dns_tcp(bytes: &[u8]) {
    let mut tracker = Tracker::new(PATIENCE);
    let (mut seq, mut rest, mut number) = (0u32, bytes, 0);
    while let [ahead, length, flags, after @ ..] = rest {
        let (data, after) = after.split_at(usize::from(*length).min(after.len()));
        seq = seq.wrapping_add_signed(i32::from(ahead.cast_signed()));
        let mut head = head(6, number);
        (head.seq, head.tcp_flags) = (seq, u32::from(flags & 2));
        if flags & 1 == 1 {
            (head.key.at.src_port, head.key.at.dst_port) = (53, 0);
        }
        tracker.see(&head, data);
        seq = seq.wrapping_add(data.len() as u32);
        (rest, number) = (after, number + 1);
    }
    assert_few(tracker, bytes.len());
    // However the messages of a connection are cut into segments, the same comes out.
    let sound = &bytes[..sound(bytes)];
    let whole = one_connection(sound, DNS_PIECE);
    for size in [1, 7] {
        assert_eq!(one_connection(sound, size), whole, "in segments of {size} bytes");
    }
}

/// Up to where the bytes are whole messages, each behind its length.
fn sound(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = bytes[end..].first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
        && let Some(body) = bytes.get(end + 2..end + 2 + length)
        && message(body, length).is_some()
    {
        end += 2 + length;
    }
    end
}

/// What is read of a connection that carries these bytes in segments of `size` bytes, each second pair of them out of order.
fn one_connection(bytes: &[u8], size: usize) -> Vec<Transaction> {
    let mut tracker = Tracker::new(PATIENCE);
    let mut segments: Vec<_> = bytes.chunks(size).enumerate().map(|(number, data)| (number * size, data)).collect();
    segments.chunks_exact_mut(4).for_each(|four| four.swap(1, 2));
    tracker.see(&DnsHead { tcp_flags: 2, ..head(6, 0) }, &[]);
    for (at, data) in segments {
        tracker.see(&DnsHead { seq: at as u32, ..head(6, 0) }, data);
    }
    let mut found = vec![];
    tracker.finish(u64::MAX / 2, 0, |transaction| found.push(transaction));
    assert_eq!(tracker.lost(), 0);
    found.sort_by_key(|transaction| (transaction.id, transaction.flags, transaction.name.clone()));
    found
}

fn assert_few(mut tracker: Tracker, bytes: usize) {
    let mut handed_out = 0;
    tracker.finish(u64::MAX / 2, 0, |_| handed_out += 1);
    // A message has twelve bytes at least.
    assert!(handed_out <= bytes / 12 + 1, "{handed_out} transactions of {bytes} bytes");
}

fn head(proto: u8, time_ns: u64) -> DnsHead {
    let at = Point { src_port: 0, dst_port: 0, eth_proto: ETH_IPV4, proto, direction: 0, device: 0 };
    let key = Key6 { src: [0; 16], dst: [0; 16], at };
    DnsHead { key, time_ns, ifindex: 0, netns: 0, frame_bytes: 0, length: 0, seq: 0, tcp_flags: 0 }
}

/// FLOW_FILTER_RULES, from the environment or from the collector while the agent runs.
fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(rules) => {
            let _ = compile(&rules, &Sets::default(), 1);
            if let Ok(both) = narrow(&[rules.clone(), rules]) {
                let _ = compile(&both, &Sets::default(), 1);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_that_are_kept_make_nothing_fall_over() {
        netobserv_testkit::corpus::feed(&super::ALL);
    }
}
