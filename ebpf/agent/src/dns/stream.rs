//! Reads the messages out of one direction of a TCP connection, as one interface sees it (RFC 7766). Where one message ends and
//! the next begins is known from the first byte on, however they are cut into segments, as long as no byte is missing. Bytes that
//! come too early are held for those before them, in bounded memory; behind a gap, and in a connection that is older than the
//! capture, the next message is one that begins with a segment and cannot be anything else.

use std::collections::VecDeque;

use super::message::{Begins, HEADER, LONGEST_NAME, Message, begins, header, message};

/// Bytes of a message that are read: the header, and a question of the longest name with its type and class.
const READ: usize = HEADER + LONGEST_NAME + 4;
/// Bytes that a stream holds for those before them: several super-packets, which CPUs hand on at the same time.
const MOST_HELD: usize = 512 << 10;
/// What a held piece costs in addition to its bytes.
const PIECE: usize = 64;
/// Bytes in flight that are farther back than this are of a new connection.
const FAR_BACK: i32 = -(16 << 20);

/// A piece of what a segment carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// Sequence number of its first byte.
    pub(super) seq: u32,
    /// A connection begins with it.
    pub(super) syn: bool,
    /// Perhaps none, in a SYN or FIN.
    pub(super) data: &'a [u8],
    /// CLOCK_MONOTONIC, ns.
    pub(super) time_ns: u64,
    /// Length of the frame.
    pub(super) frame_bytes: u32,
}

/// A message, and the packet that had the last byte of what is read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// The message.
    pub(super) message: Message,
    /// CLOCK_MONOTONIC, ns.
    pub(super) time_ns: u64,
    /// Length of the frame.
    pub(super) frame_bytes: u32,
}

/// What all streams share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Bytes that may still be held.
    pub(super) room: usize,
    /// Stretches that were not read, each a message or more.
    pub(super) lost: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Sequence number of the first byte of all, if its SYN was seen.
    first: Option<u32>,
    /// Sequence number of the next byte; None before the first piece.
    next: Option<u32>,
    /// Whether it is known where messages begin.
    known: bool,
    /// Bytes of the message under way, its length before it.
    head: Vec<u8>,
    /// Bytes of it that are still to come, and are not looked at.
    skip: usize,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// When the first of them came.
    gap_ns: u64,
    /// Whether a message was read.
    understood: bool,
    /// What comes is not read, since `unread_ns` at the latest.
    unread: bool,
    /// When something was not read for the last time.
    unread_ns: Option<u64>,
    last_ns: u64,
}

#[derive(Debug)]
struct Held {
    seq: u32,
    data: Box<[u8]>,
    time_ns: u64,
    frame_bytes: u32,
}

impl Stream {
    /// Takes the next piece, and puts what can be read now into `out`.
    pub(super) fn take(&mut self, piece: Piece<'_>, shared: &mut Shared, out: &mut Vec<Read>) {
        if piece.syn && self.first != Some(piece.seq) {
            self.forget(shared);
            *self = Self { first: Some(piece.seq), next: Some(piece.seq), known: true, ..Self::default() };
        }
        self.last_ns = piece.time_ns;
        let mut ahead = distance(piece.seq, *self.next.get_or_insert(piece.seq));
        if ahead < FAR_BACK {
            self.forget(shared);
            *self = Self { next: Some(piece.seq), last_ns: piece.time_ns, ..Self::default() };
            ahead = 0;
        }
        if ahead <= 0 || self.jump(ahead, &piece, shared) {
            self.read_at(&piece, shared, out);
            self.read_held(shared, out);
        } else {
            self.hold(&piece, shared, out);
        }
    }

    /// Gives up bytes that were waited for since before `before_ns`.
    pub(super) fn give_up(&mut self, before_ns: u64, now_ns: u64, shared: &mut Shared, out: &mut Vec<Read>) {
        while self.is_gap() && self.gap_ns <= before_ns {
            self.skip_gap(now_ns, shared, out);
        }
    }

    /// Ends it: what it holds is given back, and what was not read counts.
    pub(super) fn forget(&mut self, shared: &mut Shared) {
        if self.is_gap() || !self.head.is_empty() {
            self.lose(self.last_ns, true, shared);
        }
        shared.room += self.held_bytes;
        (self.held_bytes, self.held, self.head) = (0, VecDeque::new(), Vec::new());
    }

    /// Whether bytes are missing that may still come.
    pub(super) fn is_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a message has begun that is not complete.
    pub(super) fn is_within(&self) -> bool {
        self.known && !self.head.is_empty()
    }

    /// Whether something was not read since then, or is not now.
    pub(super) fn unread_since(&self, since_ns: u64) -> bool {
        self.unread || self.unread_ns.is_some_and(|at| at >= since_ns)
    }

    /// When its latest piece came.
    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Continues after missing bytes, where that does no harm: in what is not read anyway, or if nothing is known.
    fn jump(&mut self, ahead: i32, piece: &Piece<'_>, shared: &mut Shared) -> bool {
        let bytes = ahead as usize;
        if !self.known {
            if !self.head.is_empty() {
                self.lose(piece.time_ns, true, shared);
            }
        } else if self.skip >= bytes {
            self.skip -= bytes;
        } else {
            return false;
        }
        self.next = Some(piece.seq);
        true
    }

    fn hold(&mut self, piece: &Piece<'_>, shared: &mut Shared, out: &mut Vec<Read>) {
        let cost = piece.data.len() + PIECE;
        if self.held_bytes + cost > MOST_HELD || cost > shared.room {
            self.skip_gap(piece.time_ns, shared, out);
            // What was held is read or given up: this one has its turn, or room.
            return self.take(Piece { syn: false, ..*piece }, shared, out);
        }
        let next = self.next.unwrap_or(piece.seq);
        let at = self.held.partition_point(|held| distance(held.seq, next) < distance(piece.seq, next));
        if self.held.get(at).is_some_and(|held| held.seq == piece.seq && held.data.len() >= piece.data.len()) {
            return;
        }
        if self.held.is_empty() {
            self.gap_ns = piece.time_ns;
        }
        let Piece { seq, time_ns, frame_bytes, .. } = *piece;
        self.held.insert(at, Held { seq, data: piece.data.into(), time_ns, frame_bytes });
        self.held_bytes += cost;
        shared.room -= cost;
    }

    /// The bytes before what is held will not come.
    fn skip_gap(&mut self, now_ns: u64, shared: &mut Shared, out: &mut Vec<Read>) {
        self.lose(now_ns, true, shared);
        self.gap_ns = now_ns;
        self.read_held(shared, out);
    }

    fn read_held(&mut self, shared: &mut Shared, out: &mut Vec<Read>) {
        while let Some(Held { seq, data, time_ns, frame_bytes }) = self.held.pop_front() {
            let piece = Piece { seq, syn: false, data: &data, time_ns, frame_bytes };
            let ahead = distance(seq, self.next.unwrap_or(seq));
            if ahead > 0 && !self.jump(ahead, &piece, shared) {
                return self.held.push_front(Held { seq, data, time_ns, frame_bytes });
            }
            let cost = data.len() + PIECE;
            self.held_bytes -= cost;
            shared.room += cost;
            self.read_at(&piece, shared, out);
        }
    }

    /// Reads what is new in a piece that begins at the next byte or before.
    fn read_at(&mut self, piece: &Piece<'_>, shared: &mut Shared, out: &mut Vec<Read>) {
        let old = self.next.map_or(0, |next| next.wrapping_sub(piece.seq)) as usize;
        let Some(data) = piece.data.get(old..).filter(|data| !data.is_empty()) else { return };
        self.next = Some(piece.seq.wrapping_add(piece.data.len() as u32));
        self.read(&Piece { data, ..*piece }, shared, out);
    }

    fn read(&mut self, piece: &Piece<'_>, shared: &mut Shared, out: &mut Vec<Read>) {
        let mut rest = piece.data;
        while !rest.is_empty() {
            if !self.known {
                return self.seek(&Piece { data: rest, ..*piece }, shared, out);
            }
            let skipped = self.skip.min(rest.len());
            (self.skip, rest) = (self.skip - skipped, &rest[skipped..]);
            let (taken, after) = rest.split_at(rest.len().min(self.wanted() - self.head.len()));
            self.head.extend_from_slice(taken);
            rest = after;
            if self.is_none() {
                // Never anything else: not DNS at all, so no message is lost.
                return self.lose(piece.time_ns, self.understood, shared);
            }
            if self.head.len() > 2 && self.head.len() == self.wanted() {
                let (length, body) = (self.length(), &self.head[2..]);
                let Some(message) = message(body, length) else { return };
                self.understood = true;
                self.skip = length - body.len();
                self.head.clear();
                out.push(Read { message, time_ns: piece.time_ns, frame_bytes: piece.frame_bytes });
            }
        }
    }

    /// Finds a beginning: it is at that of a piece, whose length may stand in one before.
    fn seek(&mut self, piece: &Piece<'_>, shared: &mut Shared, out: &mut Vec<Read>) {
        let alone = self.head.is_empty();
        self.head.extend_from_slice(piece.data);
        match begins(&self.head) {
            Begins::Yes => {
                (self.known, self.unread) = (true, false);
                let head = std::mem::take(&mut self.head);
                self.read(&Piece { data: &head, ..*piece }, shared, out);
            }
            Begins::More => {}
            Begins::No => {
                self.lose(piece.time_ns, true, shared);
                if !alone {
                    self.seek(piece, shared, out);
                }
            }
        }
    }

    /// From here on it is not known where messages begin.
    fn lose(&mut self, now_ns: u64, counts: bool, shared: &mut Shared) {
        shared.lost += u64::from(counts && !self.unread);
        (self.known, self.unread, self.unread_ns, self.skip) = (false, true, Some(now_ns), 0);
        self.head.clear();
    }

    /// Length of the message under way, once that is there.
    fn length(&self) -> usize {
        self.head.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)))
    }

    /// Bytes that `head` has to have: those of the length, then those of the message.
    fn wanted(&self) -> usize {
        if self.head.len() < 2 { 2 } else { 2 + self.length().min(READ) }
    }

    /// Whether what has come of the message under way cannot be the beginning of one.
    fn is_none(&self) -> bool {
        let (length, bytes) = (self.length(), self.head.len());
        bytes >= 2 && length < HEADER || bytes >= 2 + HEADER && header(&self.head[2..], length).is_none()
    }
}

/// How far `a` is ahead of `b`: sequence numbers begin again at 0 after 4 GiB.
fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

#[cfg(test)]
mod tests;
