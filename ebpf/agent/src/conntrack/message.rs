//! The messages of the kernel about tracked connections (include/uapi/linux/netfilter/nfnetlink_conntrack.h).

use rtnetlink::packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};

use super::tuple::{Translation, has_ports, is_icmp};
use crate::translated::Tuple;

const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const STATISTICS: u16 = SUBSYSTEM | 5;
// Numbers of requests. Events have 0.
const LIST_NUMBER: u32 = 1;
const FILLING_NUMBER: u32 = 2;
// struct nfgenmsg.
const HEADER: usize = 4;

/// One thing that the kernel reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// There is a connection, whose addresses are translated.
    Open(Translation),
    /// It has gone.
    Closed(Translation),
    /// How many connections there are, and may be.
    Filling(u32, u32),
    /// The list is complete; whether it changed while it was being made.
    Listed(bool),
    /// The kernel refuses to list them; the number is an errno.
    Refused(i32),
}

/// Asks for all connections.
pub(super) fn list_request() -> [u8; 20] {
    request(GET, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, LIST_NUMBER)
}

/// Asks how many connections there are, and may be.
pub(super) fn filling_request() -> [u8; 20] {
    request(STATISTICS, libc::NLM_F_REQUEST as u16, FILLING_NUMBER)
}

/// A request about all families.
fn request(kind: u16, flags: u16, number: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    let mut packet = NetlinkBuffer::new(&mut bytes[..]);
    packet.set_length(20);
    packet.set_message_type(kind);
    packet.set_flags(flags);
    packet.set_sequence_number(number);
    bytes
}

/// Reads the messages of one datagram. What cannot be read is left out.
pub(super) fn read(mut bytes: &[u8], mut each: impl FnMut(News)) {
    while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
        let refused = i32::from(message.message_type()) == libc::NLMSG_ERROR;
        // How full the table is, old kernels do not report.
        if !(refused && message.sequence_number() == FILLING_NUMBER)
            && let Some(news) = news(message.message_type(), message.flags(), message.payload())
        {
            each(news);
        }
        // Messages begin at multiples of four bytes.
        bytes = bytes.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
    }
}

fn news(kind: u16, flags: u16, payload: &[u8]) -> Option<News> {
    match kind {
        NEW => translation(payload).map(News::Open),
        DELETE => translation(payload).map(News::Closed),
        STATISTICS => filling(payload),
        kind if i32::from(kind) == libc::NLMSG_DONE => match errno(payload) {
            0 => Some(News::Listed(i32::from(flags) & libc::NLM_F_DUMP_INTR != 0)),
            error => Some(News::Refused(error)),
        },
        kind if i32::from(kind) == libc::NLMSG_ERROR => Some(News::Refused(errno(payload))),
        _ => None,
    }
}

fn errno(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes).wrapping_neg())
}

fn filling(payload: &[u8]) -> Option<News> {
    const ENTRIES: u16 = 1;
    const MAX: u16 = 2;
    let (mut entries, mut most) = (None, None);
    for attribute in attributes(payload.get(HEADER..)?) {
        match attribute.kind() {
            ENTRIES => entries = number(attribute.value()),
            MAX => most = number(attribute.value()),
            _ => {}
        }
    }
    Some(News::Filling(entries?, most?))
}

/// A connection, if its addresses are translated.
fn translation(payload: &[u8]) -> Option<Translation> {
    const ORIGINAL: u16 = 1;
    const REPLY: u16 = 2;
    const ID: u16 = 12;
    const ZONE: u16 = 18;
    let (mut original, mut reply, mut id, mut zone) = (None, None, 0, 0);
    for attribute in attributes(payload.get(HEADER..)?) {
        let value = attribute.value();
        match attribute.kind() {
            ORIGINAL => original = Some(tuple(value, &mut zone)?),
            REPLY => reply = Some(tuple(value, &mut zone)?),
            ID => id = number(value)?,
            ZONE => zone = port(value)?,
            _ => {}
        }
    }
    let ((origin, proto), (reply, _)) = (original?, reply?);
    let target = reply.reversed(proto);
    (origin != target).then_some(Translation { origin, target, proto, zone, id })
}

/// A tuple and its protocol.
fn tuple(bytes: &[u8], zone: &mut u16) -> Option<(Tuple, u8)> {
    const IP: u16 = 1;
    const PROTO: u16 = 2;
    const ZONE: u16 = 3;
    let (mut tuple, mut proto) = (Tuple::default(), None);
    for attribute in attributes(bytes) {
        let value = attribute.value();
        match attribute.kind() {
            IP => addresses(value, &mut tuple)?,
            PROTO => proto = ports(value, &mut tuple),
            ZONE => *zone = port(value)?,
            _ => {}
        }
    }
    Some((tuple, proto?))
}

fn addresses(bytes: &[u8], tuple: &mut Tuple) -> Option<()> {
    const V4_SRC: u16 = 1;
    const V4_DST: u16 = 2;
    const V6_SRC: u16 = 3;
    const V6_DST: u16 = 4;
    let v4 = |value: &[u8]| Some(netobserv_ebpf_common::mapped(u32::from_ne_bytes(value.try_into().ok()?)));
    let mut seen = 0;
    for attribute in attributes(bytes) {
        let value = attribute.value();
        match attribute.kind() {
            V4_SRC => tuple.src = v4(value)?,
            V4_DST => tuple.dst = v4(value)?,
            V6_SRC => tuple.src = value.try_into().ok()?,
            V6_DST => tuple.dst = value.try_into().ok()?,
            _ => continue,
        }
        seen += 1;
    }
    (seen == 2).then_some(())
}

/// Ports, or the identifier of an echo. Returns the protocol.
fn ports(bytes: &[u8], tuple: &mut Tuple) -> Option<u8> {
    const NUMBER: u16 = 1;
    const SRC_PORT: u16 = 2;
    const DST_PORT: u16 = 3;
    const ICMP_ID: u16 = 4;
    const ICMPV6_ID: u16 = 7;
    let (mut proto, mut from, mut to, mut echo) = (None, 0, 0, 0);
    for attribute in attributes(bytes) {
        let value = attribute.value();
        match attribute.kind() {
            NUMBER => proto = value.first().copied(),
            SRC_PORT => from = port(value)?,
            DST_PORT => to = port(value)?,
            ICMP_ID | ICMPV6_ID => echo = port(value)?,
            _ => {}
        }
    }
    let proto = proto?;
    if has_ports(proto) {
        (tuple.src_port, tuple.dst_port) = (from, to);
    } else if is_icmp(proto) {
        tuple.src_port = echo;
    }
    Some(proto)
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// What the kernel, or whatever answers instead of it, has sent.
pub(crate) fn read_any(bytes: &[u8]) {
    let mut table = super::table::Table::new(64);
    read(bytes, |news| match news {
        News::Open(translation) => table.open(1, translation, 0),
        News::Closed(translation) => table.close(1, &translation),
        News::Filling(..) | News::Listed(_) | News::Refused(_) => {}
    });
    assert!(table.len() <= bytes.len() / 16, "{} connections of {} bytes", table.len(), bytes.len());
}

#[cfg(test)]
mod tests;
