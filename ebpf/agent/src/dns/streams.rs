//! All TCP connections of DNS, each direction at each interface that sees it, in bounded memory.

use std::collections::HashMap;

use netobserv_ebpf_common::DnsHead;
use smallvec::SmallVec;

use super::{
    message::Message,
    stream::{Piece, Read, Shared, Stream},
    tracker::Packet,
};
use crate::flow::{FlowId, Sighting};

/// Most streams that are kept; of more, the half that was idle longest is forgotten.
const MOST: usize = 8_192;
/// Bytes held by all of them together for those before them.
const MOST_HELD: usize = 8 << 20;
/// A connection that is idle for this time is forgotten; should it continue, its next message is found again.
const IDLE_NS: u64 = 600_000_000_000;
/// The SYN flag of TCP.
const SYN: u32 = 2;

/// The streams by flow; each place that sees the flow has its own.
pub(super) struct Streams {
    flows: HashMap<FlowId, SmallVec<[(Sighting, Stream); 1]>>,
    count: usize,
    shared: Shared,
    /// How long missing bytes are waited for.
    patience_ns: u64,
}

impl Streams {
    /// None yet.
    pub(super) fn new(patience_ns: u64) -> Self {
        Self { flows: HashMap::new(), count: 0, shared: Shared { room: MOST_HELD, lost: 0 }, patience_ns }
    }

    /// Takes a piece of a segment, and returns the messages that are complete with it.
    pub(super) fn take(&mut self, packet: Packet, seen: &DnsHead, data: &[u8]) -> Vec<Read> {
        if self.count >= MOST {
            self.forget_half();
        }
        let streams = self.flows.entry(packet.flow).or_default();
        let index = streams.iter().position(|(at, _)| *at == packet.at).unwrap_or_else(|| {
            streams.push((packet.at, Stream::default()));
            self.count += 1;
            streams.len() - 1
        });
        let Packet { time_ns, frame_bytes, .. } = packet;
        let piece = Piece { seq: seen.seq, syn: seen.tcp_flags & SYN != 0, data, time_ns, frame_bytes };
        let mut out = vec![];
        streams[index].1.take(piece, &mut self.shared, &mut out);
        out
    }

    /// Gives up what was waited for too long, and returns the messages behind it.
    pub(super) fn give_up(&mut self, now_ns: u64) -> Vec<(Packet, Message)> {
        let (mut found, mut out) = (vec![], vec![]);
        for (flow, streams) in &mut self.flows {
            for (at, stream) in streams {
                stream.give_up(now_ns.saturating_sub(self.patience_ns), now_ns, &mut self.shared, &mut out);
                let packet = |time_ns, frame_bytes| Packet { flow: *flow, at: *at, time_ns, frame_bytes };
                found.extend(out.drain(..).map(|read| (packet(read.time_ns, read.frame_bytes), read.message)));
            }
        }
        self.forget(|stream| stream.last_ns() + IDLE_NS < now_ns);
        found
    }

    /// From now on, missing bytes are not waited for.
    pub(super) fn end(&mut self) {
        self.patience_ns = 0;
    }

    /// Whether more of the messages of this flow may come in a moment: bytes are missing, or one is half there.
    pub(super) fn is_waiting(&self, flow: &FlowId, now_ns: u64) -> bool {
        self.of(flow).any(|stream| {
            stream.is_gap() || stream.is_within() && now_ns < stream.last_ns().saturating_add(self.patience_ns)
        })
    }

    /// Whether some of this flow was not read since then.
    pub(super) fn unread_since(&self, flow: &FlowId, since_ns: u64) -> bool {
        self.of(flow).any(|stream| stream.unread_since(since_ns))
    }

    /// Stretches that were not read.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost
    }

    fn of(&self, flow: &FlowId) -> impl Iterator<Item = &Stream> {
        self.flows.get(flow).into_iter().flatten().map(|(_, stream)| stream)
    }

    fn forget_half(&mut self) {
        let mut times: Vec<u64> = self.flows.values().flatten().map(|(_, stream)| stream.last_ns()).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        self.forget(|stream| stream.last_ns() <= middle);
    }

    fn forget(&mut self, is_over: impl Fn(&Stream) -> bool) {
        let (shared, count) = (&mut self.shared, &mut self.count);
        self.flows.retain(|_, streams| {
            streams.retain(|(_, stream)| {
                let over = is_over(stream);
                if over {
                    stream.forget(shared);
                    *count -= 1;
                }
                !over
            });
            !streams.is_empty()
        });
    }
}
