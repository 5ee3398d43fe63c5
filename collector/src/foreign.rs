//! Each place that reads bytes of others, as a function of these bytes, with what must be so whatever they are. `fuzz/` feeds
//! them with inputs that are invented, a test with those that are kept in `fuzz/corpus`.

use std::net::IpAddr;

use netobserv_contract::plain;
use netobserv_query::{Query, split};
use netobserv_wire::packet::{self, Packet};
use netobserv_wire::{Flow, genericmap};
use prost::Message as _;

use crate::cli::packets::Format;
use crate::enrich::index::{Index, Question};
use crate::enrich::watch;
use crate::facts::Kind;
use crate::ingest::decode::{EntryCounter, Outline, Records};
use crate::ingest::limits;
use crate::lines;
use crate::packets::comment;
use crate::packets::headers::{self, Ends};
use crate::packets::intake::weight;
use crate::packets::keylog::Keylog;
use crate::packets::packet_file::PacketFile;
use crate::packets::places::{Places, Source};
use crate::query::{Predicate, Scratch};
use crate::sink::json::Objects;
use crate::sink::pcapng::{Frame, Interface, Section};
use crate::tui::filter::Filter;
use crate::tui::packets::decode;
use crate::tui::packets::numbers::Base;

/// Seconds since 1970 at which everything here arrives.
const NOW_S: u64 = 1_772_359_200;

/// A place, by its name.
pub type Place = (&'static str, fn(&[u8]));

/// The places by name: the name of a folder in `fuzz/corpus`.
pub const ALL: [Place; 10] = [
    ("records", records),
    ("generic", generic),
    ("packets", packets),
    ("frame", frame),
    ("keylog", keylog),
    ("capture", crate::after::read_any),
    ("plain", shown),
    ("objects", objects),
    ("query", query),
    ("filter", filter),
];

/// A `pbflow.Records` message of an agent.
fn records(bytes: &[u8]) {
    let mut counter = EntryCounter::default();
    bytes.chunks(7).for_each(|piece| counter.feed(piece));
    let Ok(outline) = Outline::of(bytes) else { return };
    if let Ok(status) = limits::read_status(outline.agent) {
        assert!(status.node.len() <= 253 && status.version.len() <= 100 && status.filter_error.len() <= 1_000);
    }
    // What is skipped counts no more than what is read.
    assert!(counter.count() <= outline.records as u64, "{} of {}", counter.count(), outline.records);
    let flows = Records::new(bytes, NOW_S).take(outline.records);
    assert!(flows.len() <= outline.records);
    flows.iter().for_each(written);
}

/// A `genericmap.Flow` message of a flowlogs-pipeline, or the JSON in it.
fn generic(bytes: &[u8]) {
    let inside = genericmap::Flow::decode(bytes).ok().and_then(|message| message.generic_map);
    for json in [inside.map(|any| any.value).unwrap_or_default().as_slice(), bytes] {
        if let Ok(flow) = Flow::from_generic(json, NOW_S) {
            written(&flow);
        }
    }
}

/// A flow gets into the file as an object, and onto a terminal as one line that steers nothing.
fn written(flow: &Flow) {
    let mut json = Vec::new();
    Objects::default().append(flow, &mut json);
    let value: Result<serde_json::Value, _> = serde_json::from_slice(&json);
    assert!(value.is_ok_and(|value| value.is_object()), "{}", String::from_utf8_lossy(&json));
    let line = lines::line(flow, &mut [0; 2]);
    assert!(!line.contains(plain::is_hidden), "{line:?}");
}

/// A `netobserv.PacketBatch` of an agent.
fn packets(bytes: &[u8]) {
    let Ok(batch) = limits::batch(bytes.to_vec().into()) else { return };
    let (mut places, source) = (Places::default(), Source { node: "n".into(), instance: 1 });
    places.heard(&source, &batch.interfaces);
    assert!(places.all().len() <= batch.interfaces.len() && weight(&batch.interfaces) <= 300 * bytes.len());
    let Ok(packets) = packet::open(&batch) else { return };
    assert!(packets.iter().all(|packet| packet.data.len() <= packet::MAX_FRAME));
    let Ok(mut packet_file) = PacketFile::new(Format::Pcapng, &Section::default()) else { return };
    if packet_file.describe(0, &Interface::default()).is_err() {
        return;
    }
    for packet in &packets {
        kept(packet, &mut packet_file);
    }
    blocks(packet_file.pending(), packets.len());
}

fn kept(packet: &Packet, packet_file: &mut PacketFile) {
    let ends = Ends::of(&packet.data);
    let comments = comment::comments(&ends, &[None, None], packet.original, packet.cause.as_deref());
    packet_file.packet(
        0,
        &Frame {
            time_ns: packet.time_ns,
            original: packet.original,
            data: &packet.data,
            direction: packet.direction,
            id: packet.id,
            dropped: packet.cause.is_some(),
            comments: &comments,
            ..Frame::default()
        },
    );
}

/// A pcapng file is blocks of the length that is at both of their ends; type 6 are the packets.
fn blocks(mut file: &[u8], packets: usize) {
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let mut found = 0;
    while !file.is_empty() {
        let length = word(file, 4).unwrap_or_default() as usize;
        assert!(length >= 12 && length.is_multiple_of(4) && length <= file.len(), "a block of {length} bytes");
        assert_eq!(word(file, length - 4), Some(length as u32));
        found += usize::from(word(file, 0) == Some(6));
        file = &file[length..];
    }
    assert_eq!(found, packets);
}

/// Text of others, as it gets onto a terminal.
fn shown(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (line, lines) = (plain::line(text), plain::lines(text));
    assert!(!line.contains(plain::is_hidden) && !lines.contains(|c| c != '\n' && plain::is_hidden(c)));
    assert_eq!((line.chars().count(), lines.lines().count()), (text.chars().count(), text.lines().count()));
}

/// A frame: for the screen, and for names and comments in the file.
fn frame(bytes: &[u8]) {
    let mut end = 0;
    for layer in decode::layers(bytes, Base::default()) {
        assert!(layer.bytes.start >= end && layer.bytes.end >= layer.bytes.start, "{layer:?}");
        end = layer.bytes.end;
    }
    assert!(end <= bytes.len());
    let _ = decode::summary(bytes, Base::default());
    let _ = headers::macs(bytes);
    let ends = Ends::of(bytes);
    assert_eq!(ends.conversation(), ends.turned().conversation(), "both directions are one conversation");
    let _ = comment::comments(&ends, &[None, None], bytes.len() as u32, None);
    let _ = packet::identity(bytes);
}

/// A key log that grows by these bytes.
fn keylog(bytes: &[u8]) {
    let mut log = Keylog::new("/dev/null".into());
    bytes.chunks(100).for_each(|piece| {
        log.read(piece);
    });
    let secrets = log.secrets();
    assert!(secrets.len() <= bytes.len() && (secrets.is_empty() || secrets.ends_with(b"\n")));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_ \n".contains(byte);
    assert!(secrets.iter().all(plain), "{}", String::from_utf8_lossy(secrets));
}

/// An object of the API server, as every kind that is watched.
fn objects(bytes: &[u8]) {
    let mut index = Index::default();
    for fact in watch::facts(bytes) {
        let (uid, now_ms) = (fact.identity().uid.clone(), NOW_S * 1_000);
        for address in index.apply(fact, now_ms).addresses {
            let question = Question { address, mac: None, port: None, at_ms: now_ms };
            let _ = index.find(&question);
        }
        for kind in [Kind::Pods, Kind::Nodes, Kind::Services, Kind::ReplicaSets, Kind::Jobs] {
            index.delete(kind, &uid, now_ms);
        }
    }
}

/// A query, and whether it keeps a flow.
fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Query::read(text) {
        Ok(query) => {
            let predicate = Predicate::without_names(std::slice::from_ref(&query));
            let predicate = predicate.expect("every field of the language is one of a flow");
            let _ = split(&query.expr, true);
            let _ = predicate.holds(&example(), &mut Scratch::default());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a user types on the screen.
fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let filter = Filter::parse(text);
    let _ = filter.passes(&mut Scratch::of_row("10.0.0.1 tcp".into()), &example());
    if let Ok(rules) = filter.kernel_rules(|_| Some(1)) {
        let rules: Result<serde_json::Value, _> = serde_json::from_str(&rules);
        assert!(rules.is_ok_and(|rules| rules.is_array()));
    }
}

fn example() -> Flow {
    let address = |last| IpAddr::from([10, 0, 0, last]);
    Flow {
        src_addr: Some(address(1)),
        dst_addr: Some(address(2)),
        src_port: Some(40_000),
        dst_port: Some(443),
        proto: Some(6),
        bytes: 1_500,
        ..Flow::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_that_are_kept_make_nothing_fall_over() {
        netobserv_testkit::corpus::feed(&super::ALL);
    }
}
