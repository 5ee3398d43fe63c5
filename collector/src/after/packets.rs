//! A page about a file of packets: how long it is, what was lost, the largest conversations, resets, attempts without an answer, DNS.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::DateTime;
use netobserv_contract::plain;
use netobserv_wire::names::dns_rcode;
use serde_json::{Value as Json, json};

use super::blocks::{self, Block, Blocks, COMMENT, Interface, Packet};
use super::table::Answer;
use crate::human;
use crate::packets::comment::protocol;
use crate::packets::headers::{Ends, network, tcp_flags};

/// Bytes that are read at once.
const READ: usize = 1 << 20;
/// Rows of each part.
const ROWS: usize = 5;
/// Conversations and names that are listed separately; the rest is in the sums only.
const MOST: usize = 1 << 20;
/// Options: lost before a packet, its verdict; lost at an interface.
const LOST: u16 = 4;
const VERDICT: u16 = 7;
const INTERFACE_LOST: u16 = 5;
/// The verdict of this program for a packet that the kernel dropped, and what its comment begins with.
const DROPPED: [u8; 2] = [1, 2];
const CAUSE: &str = "Drop Cause: ";
/// Flags of TCP (RFC 9293, 3.1).
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const UDP: u8 = 17;
const DNS: u16 = 53;
/// Longest name of DNS (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 255;

/// What is known of a file.
#[derive(Default)]
pub(super) struct Summary {
    path: PathBuf,
    options: String,
    interfaces: Vec<Interface>,
    first_ns: Option<u64>,
    last_ns: u64,
    packets: u64,
    bytes: u64,
    /// Lost between packets, as they report it, and by interface, as it was counted.
    lost_between: u64,
    lost_at: BTreeMap<(usize, u32), u64>,
    sections: usize,
    talks: HashMap<Ends, Talk>,
    drops: BTreeMap<String, u64>,
    dns: BTreeMap<(String, String), u64>,
    names: HashMap<IpAddr, String>,
}

/// Both directions of a conversation.
#[derive(Clone, Debug, Default)]
struct Talk {
    /// From the end that sent the first packet, or the first SYN.
    opener: Ends,
    packets: u64,
    bytes: u64,
    resets: u64,
    attempts: u64,
    answered: bool,
    dropped: u64,
}

/// Reads a pcapng file.
///
/// # Errors
/// When it cannot be read, or is cut.
pub(super) fn of(path: &Path) -> anyhow::Result<Summary> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let summary = of_reader(BufReader::with_capacity(READ, file)).with_context(cannot)?;
    Ok(Summary { path: path.to_owned(), ..summary })
}

/// The same of bytes without a name.
///
/// # Errors
/// When they cannot be read, or are cut.
pub(super) fn of_reader(input: impl Read) -> anyhow::Result<Summary> {
    let (mut blocks, mut summary) = (Blocks::new(input), Summary::default());
    while let Some(block) = blocks.next()? {
        summary.block(&block)?;
    }
    Ok(summary)
}

impl Summary {
    fn block(&mut self, block: &Block) -> anyhow::Result<()> {
        match block.kind {
            blocks::SECTION => {
                self.sections += 1;
                self.interfaces.clear();
                let comment = block.options(16).find(|(code, _)| *code == COMMENT);
                self.options = comment.map_or_else(String::new, |(_, text)| String::from_utf8_lossy(text).into_owned());
            }
            blocks::INTERFACE => self.interfaces.push(block.interface()?),
            blocks::PACKET => {
                let packet = block.packet().context("a block is too short for its packet")?;
                self.packet(block, &packet)?;
            }
            blocks::STATISTICS => {
                let lost = block.options(12).find(|(code, _)| *code == INTERFACE_LOST);
                let lost = lost.and_then(|(_, value)| block.u64_of(value)).unwrap_or_default();
                // Each counts from the beginning of the capture: the last one of an interface is right.
                self.lost_at.insert((self.sections, block.u32(0).unwrap_or_default()), lost);
            }
            blocks::NAMES => self.names.extend(block.names()),
            _ => {}
        }
        Ok(())
    }

    fn packet(&mut self, block: &Block, packet: &Packet<'_>) -> anyhow::Result<()> {
        let interface = self.interfaces.get(packet.interface);
        let interface = interface.with_context(|| format!("it has no interface {}", packet.interface))?;
        let time = interface.nanoseconds(packet.ticks);
        self.first_ns = Some(self.first_ns.map_or(time, |first| first.min(time)));
        self.last_ns = self.last_ns.max(time);
        self.packets += 1;
        self.bytes += u64::from(packet.original);
        let (mut dropped, mut cause) = (false, None);
        for (code, value) in block.packet_options(packet) {
            match code {
                LOST => self.lost_between += block.u64_of(value).unwrap_or_default(),
                VERDICT => dropped = value.starts_with(&DROPPED),
                COMMENT => cause = cause.or_else(|| cause_in(value)),
                _ => {}
            }
        }
        if dropped {
            *self.drops.entry(cause.unwrap_or_else(|| "unknown".into())).or_default() += 1;
        }
        let ends = Ends::of(packet.data);
        self.talk(&ends, packet, dropped);
        if let Some((name, outcome)) = failed_name(&ends, packet.data)
            && self.dns.len() < MOST
        {
            *self.dns.entry((name, outcome)).or_default() += 1;
        }
        Ok(())
    }

    fn talk(&mut self, ends: &Ends, packet: &Packet<'_>, dropped: bool) {
        let key = ends.conversation();
        if ends.addresses.is_none() || (self.talks.len() >= MOST && !self.talks.contains_key(&key)) {
            return;
        }
        let talk = self.talks.entry(key).or_insert_with(|| Talk { opener: *ends, ..Talk::default() });
        talk.packets += 1;
        talk.bytes += u64::from(packet.original);
        talk.dropped += u64::from(dropped);
        let flags = tcp_flags(packet.data).unwrap_or_default();
        if flags & RST != 0 {
            talk.resets += 1;
        }
        if flags & (SYN | ACK) == SYN {
            talk.attempts += 1;
            talk.opener = *ends;
        } else if ends.addresses != talk.opener.addresses || ends.ports != talk.opener.ports {
            talk.answered |= flags & RST == 0 || flags & ACK == 0;
        }
    }

    fn lost(&self) -> u64 {
        self.lost_at.values().sum::<u64>().max(self.lost_between)
    }

    fn name(&self, address: IpAddr) -> String {
        self.names.get(&address).cloned().unwrap_or_else(|| address.to_string())
    }

    fn columns(&self, talk: &Talk) -> [Json; 4] {
        let (client, server) = talk.opener.addresses.unzip();
        let port = talk.opener.ports.map(|(_, port)| port);
        let name = |address: Option<IpAddr>| json!(address.map(|address| self.name(address)));
        [name(client), name(server), json!(port), json!(talk.opener.proto.map(protocol))]
    }

    /// The conversations with most of something, as a table.
    fn most(&self, what: &str, of: impl Fn(&Talk) -> u64) -> Answer {
        let mut talks: Vec<_> = self.talks.values().filter(|talk| of(talk) > 0).collect();
        talks.sort_by_key(|talk| (std::cmp::Reverse(of(talk)), talk.opener.addresses, talk.opener.ports));
        let rows = talks.into_iter().take(ROWS).map(|talk| {
            let [client, server, port, proto] = self.columns(talk);
            vec![client, server, port, proto, json!(of(talk)), json!(talk.packets)]
        });
        let columns = ["client", "server", "port", "protocol", what, "packets"];
        Answer::new(columns.map(str::to_owned).to_vec(), rows.collect())
    }

    fn failed_names(&self) -> Answer {
        let mut names: Vec<_> = self.dns.iter().collect();
        names.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        let rows = names
            .into_iter()
            .take(ROWS)
            .map(|((name, outcome), times)| vec![json!(name), json!(outcome), json!(times)]);
        Answer::new(["name", "outcome", "times"].map(str::to_owned).to_vec(), rows.collect())
    }

    fn dropped(&self) -> Answer {
        let mut causes: Vec<_> = self.drops.iter().collect();
        causes.sort_by_key(|(_, packets)| std::cmp::Reverse(**packets));
        let rows = causes.into_iter().take(ROWS).map(|(cause, packets)| vec![json!(cause), json!(packets)]);
        Answer::new(["cause", "packets"].map(str::to_owned).to_vec(), rows.collect())
    }

    fn unanswered(talk: &Talk) -> u64 {
        if talk.answered || talk.resets > 0 { 0 } else { talk.attempts }
    }

    fn parts(&self) -> [(&'static str, &'static str, Answer); 5] {
        [
            ("Largest conversations", "top", self.most("bytes", |talk| talk.bytes)),
            ("Dropped packets", "drops", self.dropped()),
            ("Connection attempts without an answer", "unanswered", self.most("attempts", Self::unanswered)),
            ("Connections that were reset", "resets", self.most("resets", |talk| talk.resets)),
            ("Names that do not resolve", "dns", self.failed_names()),
        ]
    }

    fn times(&self) -> Option<[String; 2]> {
        let text = |ns: u64| human::time(DateTime::from_timestamp_nanos(ns.cast_signed()));
        Some([text(self.first_ns?), text(self.last_ns)])
    }

    /// As a page of text.
    pub(super) fn text(&self) -> String {
        let times = self.times().map_or_else(|| "no packets".into(), |[first, last]| format!("{first} to {last}"));
        let mut lines = vec![format!("{}: {times}", self.path.display())];
        if !self.options.is_empty() {
            lines.push(format!("  options: {}", self.options.replace('\n', "; ")));
        }
        lines.push(format!(
            "  {} packets, {} in {} conversations at {} interfaces",
            human::count(self.packets),
            human::bytes(self.bytes),
            human::count(self.talks.len() as u64),
            self.interfaces.len()
        ));
        let lost = if self.lost() == 0 { "nothing".into() } else { format!("{} packets", human::count(self.lost())) };
        lines.push(format!("  lost: {lost}"));
        for (title, _, answer) in self.parts().into_iter().filter(|(.., answer)| !answer.is_empty()) {
            lines.push(format!("\n{title}:"));
            lines.extend(answer.table().lines().map(|line| format!("  {line}")));
        }
        lines.push(format!("\nNext: wireshark {}", self.path.display()));
        plain::lines(&lines.join("\n")).into_owned()
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> Json {
        let [start, end] = self.times().map_or([None, None], |times| times.map(Some));
        let interfaces: Vec<_> = self.interfaces.iter().map(|interface| &interface.name).collect();
        let mut whole = json!({
            "file": self.path, "options": self.options, "start": start, "end": end, "packets": self.packets, "bytes": self.bytes,
            "conversations": self.talks.len(), "interfaces": interfaces, "lost": self.lost(),
        });
        for (_, name, answer) in self.parts() {
            whole[name] = answer.objects().into();
        }
        whole
    }
}

/// In a comment of this program.
fn cause_in(comment: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(comment).ok()?;
    text.lines().find_map(|line| line.strip_prefix(CAUSE)).map(str::to_owned)
}

/// The name and the code of an answer of DNS over UDP that is no success.
fn failed_name(ends: &Ends, frame: &[u8]) -> Option<(String, String)> {
    if ends.proto != Some(UDP) || ends.ports?.0 != DNS {
        return None;
    }
    let (_, packet) = network(frame);
    let header = if packet.first()? >> 4 == 4 { usize::from(packet[0] & 0xf) * 4 } else { 40 };
    let message = packet.get(header + 8..)?;
    let flags = u16::from_be_bytes(*message.get(2..)?.first_chunk()?);
    let is_failure = flags & 0x8000 != 0 && flags & 0xf != 0;
    is_failure.then(|| Some((question(message.get(12..)?)?, dns_rcode(flags.into()).to_string())))?
}

/// The name in a question, which is not compressed.
fn question(mut labels: &[u8]) -> Option<String> {
    let mut name = String::new();
    loop {
        let (length, rest) = labels.split_first()?;
        let length = usize::from(*length);
        if length == 0 {
            return Some(name);
        }
        if length > 63 || name.len() + length > LONGEST_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(rest.get(..length)?));
        labels = &rest[length..];
    }
}
