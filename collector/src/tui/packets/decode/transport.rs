//! TCP, UDP, SCTP and both ICMP.

use super::{Decoder, Next};
use crate::tui::columns::tcp_flags;

/// IP protocols (IANA numbers).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

impl Decoder<'_> {
    pub(super) fn transport(&mut self, proto: u8) -> Option<Next> {
        match proto {
            TCP => self.tcp(),
            UDP => self.udp(),
            SCTP => self.sctp(),
            ICMP => self.icmp("ICMP", icmp_name),
            ICMPV6 => self.icmp("ICMPv6", icmpv6_name),
            _ => Some(Next::Data),
        }
    }

    fn tcp(&mut self) -> Option<Next> {
        let (src, dst, seq, ack) = (self.u16(0)?, self.u16(2)?, self.u32(4)?, self.u32(8)?);
        let (raw, raw_ack) = (seq, ack);
        let (seq, ack) = (seq.wrapping_sub(self.base.seq), ack.wrapping_sub(self.base.ack));
        let (header, flags, window) = (usize::from(self.u8(12)? >> 4) * 4, self.u8(13)?, self.u16(14)?);
        let header = header.max(20);
        // As on the wire, also where less was kept.
        let carried = (self.left().len() + self.beyond).saturating_sub(header);
        let names = tcp_flags(flags.into());
        let fields = vec![
            ("Ports", format!("{src} → {dst}")),
            ("Flags", names.clone()),
            ("Sequence number", counted(seq, raw)),
            ("Acknowledged", counted(ack, raw_ack)),
            ("Window", window.to_string()),
            ("Options", format!("{} bytes", header - 20)),
            ("Data", format!("{carried} bytes")),
        ];
        self.add(
            "TCP",
            header,
            format!("{src} → {dst} [{names}] seq {seq} ack {ack} win {window} len {carried}"),
            fields,
        );
        Some(Next::Stream(src, dst))
    }

    fn udp(&mut self) -> Option<Next> {
        let (src, dst, length) = (self.u16(0)?, self.u16(2)?, self.u16(4)?);
        let fields = vec![("Ports", format!("{src} → {dst}")), ("Length", length.to_string())];
        let carried = usize::from(length).saturating_sub(8);
        self.add("UDP", 8, format!("{src} → {dst} len {carried}"), fields);
        Some(Next::Datagram(src, dst))
    }

    fn sctp(&mut self) -> Option<Next> {
        let (src, dst) = (self.u16(0)?, self.u16(2)?);
        let fields = vec![("Ports", format!("{src} → {dst}")), ("Verification tag", format!("{:#010x}", self.u32(4)?))];
        self.add("SCTP", 12, format!("{src} → {dst}"), fields);
        Some(Next::Data)
    }

    fn icmp(&mut self, layer: &'static str, name: fn(u8) -> Option<&'static str>) -> Option<Next> {
        let (kind, code) = (self.u8(0)?, self.u8(1)?);
        let name = name(kind).map_or_else(|| format!("type {kind}"), str::to_owned);
        let mut fields = vec![("Type", format!("{kind} ({name})")), ("Code", code.to_string())];
        let mut info = if code == 0 { name.clone() } else { format!("{name}, code {code}") };
        if name.starts_with("echo") {
            let (id, sequence) = (self.u16(4)?, self.u16(6)?);
            info = format!("{name} id {id} seq {sequence}");
            fields.extend([("Identifier", id.to_string()), ("Sequence number", sequence.to_string())]);
        }
        self.add(layer, 8, info, fields);
        Some(Next::Data)
    }
}

/// A number of a connection, with what is in the header where that is another.
fn counted(number: u32, raw: u32) -> String {
    if number == raw { number.to_string() } else { format!("{number} ({raw} in the header)") }
}

/// Types of ICMP (IANA).
fn icmp_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0 => "echo reply",
        3 => "destination unreachable",
        5 => "redirect",
        8 => "echo request",
        11 => "time exceeded",
        12 => "parameter problem",
        _ => return None,
    })
}

/// Types of ICMPv6 (IANA).
fn icmpv6_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "destination unreachable",
        2 => "packet too big",
        3 => "time exceeded",
        4 => "parameter problem",
        128 => "echo request",
        129 => "echo reply",
        133 => "router solicitation",
        134 => "router advertisement",
        135 => "neighbor solicitation",
        136 => "neighbor advertisement",
        143 => "multicast listener report",
        _ => return None,
    })
}
