//! Each place that reads bytes of others, as a function of these bytes, with what must be so whatever they are. `fuzz/` feeds
//! them with inputs that are invented, a test with those that are kept in `fuzz/corpus`.

use std::time::Duration;

use netobserv_ebpf_common::{DNS_MOST, DnsMessage};

use crate::{
    dns::{Tracker, messages},
    rules::{compile::compile, narrow::narrow, parse::parse},
};

/// A place, by its name.
pub type Place = (&'static str, fn(&[u8]));

/// The places by name: the name of a folder in `fuzz/corpus`.
pub const ALL: [Place; 2] = [("dns", dns), ("rules", rules)];

/// What a DNS server, or whoever uses its port, has sent: over UDP and over TCP.
fn dns(bytes: &[u8]) {
    for tcp in [false, true] {
        for message in messages(bytes, tcp) {
            let name = message.name.unwrap_or_default();
            // At most 253 characters that each may need four.
            assert!(name.len() <= 4 * 253 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
        }
        let mut tracker = Tracker::new(Duration::from_secs(5));
        for (number, piece) in bytes.chunks(DNS_MOST).enumerate() {
            tracker.see(&seen(piece, tcp, number as u64));
        }
        let mut handed_out = 0;
        tracker.finish(u64::MAX, |_| handed_out += 1);
        // A TCP segment holds a message in fourteen bytes at least.
        assert!(handed_out <= bytes.len() / 12 + 1, "{handed_out} transactions of {} bytes", bytes.len());
    }
}

fn seen(payload: &[u8], tcp: bool, number: u64) -> DnsMessage {
    // SAFETY: numbers and arrays of numbers, for all of which zero is a value.
    let mut seen: DnsMessage = unsafe { std::mem::zeroed() };
    seen.key.at.proto = if tcp { 6 } else { 17 };
    seen.time_ns = number;
    seen.length = payload.len() as u32;
    seen.data[..payload.len()].copy_from_slice(payload);
    seen
}

/// FLOW_FILTER_RULES, from the environment or from the collector while the agent runs.
fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(rules) => {
            let _ = compile(&rules, 1);
            if let Ok(both) = narrow(&[rules.clone(), rules]) {
                let _ = compile(&both, 1);
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
