//! Which conversation a flow is a part of, and which end opened it.
//!
//! The same packets are seen before and after address translation, on the client's node and on the server's. What all of these places
//! have in common is the tuple after translation: the server's node sees no other, and a node that translates knows both. So the
//! conversation is named after that one, whichever direction it is read in. Echo messages of ICMP have no ports, and several of
//! them may be translated to the same two addresses; they are named after the tuple before translation.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::quality::FixedState;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Conversation, Xlat};

/// Bits of a number that are exact in JSON (IEEE 754 doubles).
const ID_BITS: u32 = 53;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Echo request and echo reply: RFC 792, RFC 4443.
const ECHO: [[u8; 2]; 2] = [[8, 0], [128, 129]];
/// Flags as agents sum them up: a SYN alone, and a SYN with ACK.
const SYN: u32 = 0x002;
const SYN_ACK: u32 = 0x100;

/// Address and port.
type End = (IpAddr, u16);

/// What one record shows of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) id: u64,
    /// Whether the source opened it, as the record itself proves.
    pub(super) seen: Option<bool>,
    /// The same, as the ports suggest: a server has the lower one.
    pub(super) guessed: Option<bool>,
}

/// What `flow` shows; `None` when it is no IP.
pub(super) fn shown(flow: &Flow) -> Option<Shown> {
    let proto = flow.proto?;
    let own = ((flow.src_addr?, flow.src_port.unwrap_or(0)), (flow.dst_addr?, flow.dst_port.unwrap_or(0)));
    if matches!(proto, ICMP | ICMPV6) {
        return Some(icmp(flow, proto, flow.origin.as_deref().and_then(ends).unwrap_or(own)));
    }
    let (src, dst) = flow.xlat.as_deref().and_then(ends).unwrap_or(own);
    let opener = flow.conversation.and_then(|conversation| conversation.from_client);
    Some(Shown {
        id: id(src.min(dst), src.max(dst), proto),
        seen: opener.or_else(|| flow.flags.filter(|_| proto == TCP).and_then(by_flags)),
        guessed: Some((dst.1, dst.0) <= (src.1, src.0)),
    })
}

/// Gives a record its conversation, if it has none: records of other programs have not.
pub(crate) fn name(flow: &mut Flow) {
    let known = flow.conversation.unwrap_or_default();
    if known.id == 0
        && let Some(shown) = shown(flow)
    {
        let from_client = known.from_client.or(shown.seen).or(shown.guessed);
        flow.conversation = Some(Conversation { id: shown.id, from_client });
    }
}

fn icmp(flow: &Flow, proto: u8, (src, dst): (End, End)) -> Shown {
    let kind = flow.icmp_type.unwrap_or(u8::MAX);
    let seen = ECHO.iter().find_map(|[request, reply]| match kind {
        _ if kind == *request => Some(true),
        _ if kind == *reply => Some(false),
        _ => None,
    });
    let id = match seen {
        Some(true) => id(src, dst, proto),
        Some(false) => id(dst, src, proto),
        // Errors of both directions; apart from echo messages of the same two.
        None => id((src.0.min(dst.0), kind.into()), (src.0.max(dst.0), kind.into()), proto),
    };
    Shown { id, seen, guessed: None }
}

fn ends(tuple: &Xlat) -> Option<(End, End)> {
    Some(((tuple.src_addr?, tuple.src_port), (tuple.dst_addr?, tuple.dst_port)))
}

fn by_flags(flags: u32) -> Option<bool> {
    match (flags & SYN != 0, flags & SYN_ACK != 0) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// The same in every process: a collector that is started again continues in a second file.
fn id(one: End, other: End, proto: u8) -> u64 {
    let hash = FixedState::with_seed(0).hash_one((one, other, proto));
    (hash >> (u64::BITS - ID_BITS)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(src: &str, dst: &str, flags: u32) -> Flow {
        let [src, dst] = [src, dst].map(|end| end.parse::<std::net::SocketAddr>().unwrap());
        Flow {
            src_addr: Some(src.ip()),
            dst_addr: Some(dst.ip()),
            src_port: Some(src.port()),
            dst_port: Some(dst.port()),
            proto: Some(TCP),
            flags: Some(flags),
            ..Flow::default()
        }
    }

    fn tuple(src: &str, dst: &str) -> Option<Box<Xlat>> {
        let of = flow(src, dst, 0);
        Some(Box::new(Xlat {
            src_addr: of.src_addr,
            dst_addr: of.dst_addr,
            src_port: of.src_port.unwrap(),
            dst_port: of.dst_port.unwrap(),
            ..Xlat::default()
        }))
    }

    #[test]
    fn all_places_that_see_a_connection_name_it_alike() {
        let (client, service, node, pod) = ("10.1.0.5:40000", "10.96.0.1:8080", "10.0.0.1:61000", "10.2.0.7:80");
        let places = [
            Flow { xlat: tuple(node, pod), ..flow(client, service, SYN) },
            Flow { origin: tuple(client, service), ..flow(node, pod, SYN) },
            flow(node, pod, SYN),
            flow(pod, node, SYN_ACK),
            Flow { xlat: tuple(pod, node), ..flow(service, client, SYN_ACK) },
        ];
        let shown = places.each_ref().map(|place| shown(place).unwrap());
        assert!(shown.iter().all(|place| place.id == shown[0].id && place.id < 1 << ID_BITS), "{shown:?}");
        assert_eq!(shown.map(|place| place.seen), [true, true, true, false, false].map(Some));
        assert_eq!(shown.map(|place| place.guessed), [true, true, true, false, false].map(Some));
        assert_ne!(super::shown(&flow(node, "10.2.0.7:81", 0)).unwrap().id, shown[0].id);
    }

    #[test]
    fn a_ping_and_its_answer_are_one_conversation_and_pings_the_other_way_another() {
        let ping = |src: &str, dst: &str, kind| {
            let of = flow(&format!("{src}:0"), &format!("{dst}:0"), 0);
            shown(&Flow { proto: Some(ICMP), icmp_type: Some(kind), ..of }).unwrap()
        };
        let (asks, answers) = (ping("10.0.0.1", "10.0.0.2", 8), ping("10.0.0.2", "10.0.0.1", 0));
        assert_eq!((asks.id, asks.seen, answers.seen), (answers.id, Some(true), Some(false)));
        assert_ne!(ping("10.0.0.2", "10.0.0.1", 8).id, asks.id);
        assert_ne!(ping("10.0.0.2", "10.0.0.1", 3).id, asks.id);
    }

    #[test]
    fn conntrack_knows_better_than_flags() {
        let conversation = Some(Conversation { id: 0, from_client: Some(false) });
        assert_eq!(shown(&Flow { conversation, ..flow("10.0.0.1:1", "10.0.0.2:2", SYN) }).unwrap().seen, Some(false));
        assert_eq!(shown(&flow("10.0.0.1:1", "10.0.0.2:2", SYN | SYN_ACK)).unwrap().seen, None);
        assert_eq!(shown(&Flow::default()), None);
    }
}
