//! Ethernet, VLAN tags, ARP, IPv4 and IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Decoder, Next, mac};
use crate::tui::columns::protocol;

/// EtherTypes (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const TAG: u16 = 0x8100;
const OUTER_TAG: u16 = 0x88a8;
const OLD_OUTER_TAG: u16 = 0x9100;
/// Extension headers of IPv6 (IANA): hop-by-hop, routing, fragment, destination.
const EXTENSIONS: [(u8, &str); 4] =
    [(0, "Hop-by-hop"), (43, "Routing header"), (44, "Fragment header"), (60, "Destination options")];
const FRAGMENT: u8 = 44;

impl Decoder<'_> {
    pub(super) fn ethernet(&mut self) -> Option<Next> {
        let (dst, src, etype) = (mac(self.array(0)?), mac(self.array(6)?), self.u16(12)?);
        let fields = vec![("Destination", dst.clone()), ("Source", src.clone()), ("Type", etype_name(etype))];
        self.add("Ethernet", 14, format!("{src} → {dst}"), fields);
        Some(Next::Network(etype))
    }

    pub(super) fn network(&mut self, etype: u16) -> Option<Next> {
        match etype {
            TAG | OUTER_TAG | OLD_OUTER_TAG => self.tag(etype),
            IPV4 => self.ipv4(),
            IPV6 => self.ipv6(),
            ARP => self.arp(),
            _ => Some(Next::Data),
        }
    }

    fn tag(&mut self, kind: u16) -> Option<Next> {
        let (tag, etype) = (self.u16(0)?, self.u16(2)?);
        let name = if kind == TAG { "802.1Q" } else { "802.1ad" };
        let (vlan, priority) = (tag & 0xfff, tag >> 13);
        let fields = vec![("VLAN", vlan.to_string()), ("Priority", priority.to_string()), ("Type", etype_name(etype))];
        self.add(name, 4, format!("VLAN {vlan}"), fields);
        Some(Next::Network(etype))
    }

    fn ipv4(&mut self) -> Option<Next> {
        let (first, total, fragment) = (self.u8(0)?, self.u16(2)?, self.u16(6)?);
        let (src, dst) = (Ipv4Addr::from(self.array::<4>(12)?), Ipv4Addr::from(self.array::<4>(16)?));
        let (ttl, proto, header) = (self.u8(8)?, self.u8(9)?, usize::from(first & 0xf) * 4);
        let offset = usize::from(fragment & 0x1fff) * 8;
        let mut fields = vec![
            ("Source", src.to_string()),
            ("Destination", dst.to_string()),
            ("Protocol", protocol(proto.into())),
            ("Time to live", ttl.to_string()),
            ("Length", format!("{total}, header {header}")),
            ("Identification", format!("{:#06x}", self.u16(4)?)),
            ("DSCP, ECN", format!("{}, {}", self.u8(1)? >> 2, self.u8(1)? & 3)),
        ];
        fields.push(("Fragment", fragment_text(offset, fragment & 0x2000 != 0, fragment & 0x4000 != 0)));
        // Segmentation offload leaves a length of 0.
        if total != 0 {
            self.limit(total.into());
        }
        let length = header.max(20);
        self.add("IPv4", length, format!("{src} → {dst} {}", protocol(proto.into())), fields);
        Some(if offset == 0 { Next::Transport(proto) } else { Next::Data })
    }

    fn ipv6(&mut self) -> Option<Next> {
        let (src, dst) = (Ipv6Addr::from(self.array::<16>(8)?), Ipv6Addr::from(self.array::<16>(24)?));
        let (first, payload, proto, hops) = (self.u32(0)?, self.u16(4)?, self.u8(6)?, self.u8(7)?);
        let fields = vec![
            ("Source", src.to_string()),
            ("Destination", dst.to_string()),
            ("Next header", next_name(proto)),
            ("Hop limit", hops.to_string()),
            ("Payload", payload.to_string()),
            ("Traffic class", format!("{:#04x}", first >> 20 & 0xff)),
            ("Flow label", format!("{:#07x}", first & 0xf_ffff)),
        ];
        if payload != 0 {
            self.limit(40 + usize::from(payload));
        }
        self.add("IPv6", 40, format!("{src} → {dst} {}", next_name(proto)), fields);
        self.extensions(proto)
    }

    fn extensions(&mut self, mut proto: u8) -> Option<Next> {
        while let Some((_, name)) = EXTENSIONS.iter().find(|(number, _)| *number == proto).copied() {
            if self.layers.len() >= super::MOST_LAYERS {
                return None;
            }
            let (next, fragment) = (self.u8(0)?, self.u16(2)?);
            let length = if proto == FRAGMENT { 8 } else { (usize::from(self.u8(1)?) + 1) * 8 };
            let mut fields = vec![("Next header", next_name(next))];
            let offset = usize::from(fragment & 0xfff8);
            let info =
                if proto == FRAGMENT { fragment_text(offset, fragment & 1 != 0, false) } else { next_name(next) };
            if proto == FRAGMENT {
                fields.push(("Fragment", info.clone()));
            }
            self.add(name, length, info, fields);
            if proto == FRAGMENT && offset != 0 {
                return Some(Next::Data);
            }
            proto = next;
        }
        Some(Next::Transport(proto))
    }

    fn arp(&mut self) -> Option<Next> {
        let operation = self.u16(6)?;
        let (src_mac, dst_mac) = (mac(self.array(8)?), mac(self.array(18)?));
        let (src, dst) = (Ipv4Addr::from(self.array::<4>(14)?), Ipv4Addr::from(self.array::<4>(24)?));
        let info = match operation {
            1 => format!("who has {dst}? tell {src}"),
            2 => format!("{src} is at {src_mac}"),
            other => format!("operation {other}"),
        };
        let fields = vec![("Sender", format!("{src} {src_mac}")), ("Target", format!("{dst} {dst_mac}"))];
        self.add("ARP", 28, info, fields);
        Some(Next::Data)
    }
}

fn fragment_text(offset: usize, more: bool, never: bool) -> String {
    match (offset, more, never) {
        (0, false, true) => "don't fragment".into(),
        (0, false, false) => "no".into(),
        (offset, more, _) => format!("from byte {offset}{}", if more { ", more follow" } else { ", the last" }),
    }
}

fn etype_name(etype: u16) -> String {
    let name = match etype {
        IPV4 => "IPv4",
        IPV6 => "IPv6",
        ARP => "ARP",
        TAG => "802.1Q",
        OUTER_TAG | OLD_OUTER_TAG => "802.1ad",
        0x88cc => "LLDP",
        _ => return format!("{etype:#06x}"),
    };
    format!("{name} ({etype:#06x})")
}

fn next_name(proto: u8) -> String {
    let extension = EXTENSIONS.iter().find(|(number, _)| *number == proto);
    extension.map_or_else(|| protocol(proto.into()), |(_, name)| (*name).to_owned())
}
