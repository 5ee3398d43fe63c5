//! A `pbflow.Records` message, one record at a time.
//!
//! Decoded whole, a message of 16 MB could take a hundred times as much memory: an empty record is two bytes on the wire.

use netobserv_wire::Flow;
use netobserv_wire::pbflow::Record;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

use super::limits;

/// Field numbers of `Records`.
const ENTRIES: u32 = 1;
const AGENT: u32 = 1000;
const SEQUENCE: u32 = 1001;

/// No agent sends a longer record: some hundred bytes are usual, and lists in it take up to thirty times as much memory.
const LONGEST_RECORD: usize = 64 << 10;

/// What a message holds, looked at without decoding its records.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    /// Number of records.
    pub(crate) records: usize,
    /// What the agent reported of itself, encoded.
    pub(crate) agent: &'a [u8],
    /// Number of the message, or 0.
    pub(crate) sequence: u64,
}

impl<'a> Outline<'a> {
    /// Goes over a message.
    ///
    /// # Errors
    /// When it is not a protobuf message.
    pub(crate) fn of(mut message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut outline = Self::default();
        while message.has_remaining() {
            match next(&mut message)? {
                Part::Bytes(ENTRIES, _) => outline.records += 1,
                Part::Bytes(AGENT, agent) => outline.agent = agent,
                Part::Number(SEQUENCE, sequence) => outline.sequence = sequence,
                _ => {}
            }
        }
        Ok(outline)
    }
}

/// How often a message has a field, which is a text or a message.
///
/// # Errors
/// When it is not a protobuf message.
pub(super) fn count(mut message: &[u8], field: u32) -> Result<usize, DecodeError> {
    let mut count = 0;
    while message.has_remaining() {
        if let Part::Bytes(found, _) = next(&mut message)? {
            count += usize::from(found == field);
        }
    }
    Ok(count)
}

/// A field of a message: its number, and what is in it.
enum Part<'a> {
    Bytes(u32, &'a [u8]),
    Number(u32, u64),
    Other,
}

fn next<'a>(message: &mut &'a [u8]) -> Result<Part<'a>, DecodeError> {
    let (field, wire) = decode_key(message)?;
    if wire == WireType::Varint {
        return Ok(Part::Number(field, decode_varint(message)?));
    }
    let before = *message;
    skip_field(wire, field, message, DecodeContext::default())?;
    if wire != WireType::LengthDelimited {
        return Ok(Part::Other);
    }
    let mut value = &before[..before.len() - message.len()];
    decode_varint(&mut value)?;
    Ok(Part::Bytes(field, value))
}

/// The records of a message that [`Outline::of`] has been over.
pub(crate) struct Records<'a> {
    message: &'a [u8],
    now_s: u64,
    /// Used again and again, so that its texts and lists keep their memory.
    record: Record,
}

impl<'a> Records<'a> {
    /// `now_s` is when the message arrived, in seconds since 1970.
    pub(crate) fn new(message: &'a [u8], now_s: u64) -> Self {
        Self { message, now_s, record: Record::default() }
    }

    /// Bytes that are still to be read.
    pub(super) fn left(&self) -> usize {
        self.message.len()
    }

    /// Looks at the next `records` records and returns those that can be read.
    pub(crate) fn take(&mut self, records: usize) -> Vec<Flow> {
        let mut flows = Vec::with_capacity(records);
        for _ in 0..records {
            let Some(entry) = self.next_entry() else { break };
            self.record.clear();
            if entry.len() <= LONGEST_RECORD && self.record.merge(entry).is_ok() && limits::is_usual(&self.record) {
                flows.push(Flow::from_record(&self.record, self.now_s));
            }
        }
        flows
    }

    fn next_entry(&mut self) -> Option<&'a [u8]> {
        while self.message.has_remaining() {
            match next(&mut self.message) {
                Ok(Part::Bytes(ENTRIES, entry)) => return Some(entry),
                Ok(_) => {}
                Err(_) => self.message = &[],
            }
        }
        None
    }
}

/// Counts the records of a message that comes in pieces and is not kept.
#[derive(Debug, Default)]
pub(crate) struct EntryCounter {
    count: u64,
    state: State,
    number: u64,
    shift: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Key,
    Varint,
    Length,
    Skip(u64),
    Broken,
}

impl EntryCounter {
    /// Records so far; one that has begun counts.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Goes over the next piece.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) {
        while let [byte, rest @ ..] = piece {
            if let State::Skip(length) = self.state {
                let part = length.min(piece.len() as u64);
                piece = &piece[part as usize..];
                self.state = if part == length { State::Key } else { State::Skip(length - part) };
                continue;
            }
            piece = rest;
            self.number |= u64::from(byte & 0x7f).checked_shl(self.shift).unwrap_or(0);
            self.shift += 7;
            if byte & 0x80 == 0 {
                let number = std::mem::take(&mut self.number);
                self.state = self.after(number);
                self.shift = 0;
            }
        }
    }

    /// What comes after a varint.
    fn after(&mut self, number: u64) -> State {
        match self.state {
            State::Key if number == u64::from(ENTRIES) << 3 | 2 => {
                self.count += 1;
                State::Length
            }
            State::Key => match number & 7 {
                0 => State::Varint,
                1 => State::Skip(8),
                2 => State::Length,
                5 => State::Skip(4),
                _ => State::Broken,
            },
            State::Varint | State::Skip(_) => State::Key,
            State::Length => State::Skip(number),
            State::Broken => State::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::pbflow::{self, AgentStatus};

    fn message() -> Vec<u8> {
        let record = |bytes| Record { bytes, interface: "eth0".into(), ..Record::default() };
        let agent = AgentStatus { node: "n".into(), last: true, ..AgentStatus::default() };
        pbflow::Records { entries: (0..300).map(record).collect(), agent: Some(agent), sequence: 77 }.encode_to_vec()
    }

    #[test]
    fn records_come_piece_by_piece() {
        let message = message();
        let outline = Outline::of(&message).unwrap();
        assert_eq!((outline.records, outline.sequence), (300, 77));
        assert!(AgentStatus::decode(outline.agent).unwrap().last);
        let mut records = Records::new(&message, 9);
        let first = records.take(200);
        let rest = records.take(200);
        assert_eq!((first.len(), rest.len(), rest[99].bytes, rest[99].received_s), (200, 100, 299, 9));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_left_out() {
        let mut message = message();
        message.extend([0x0a, 1, 0xff]);
        assert_eq!(Outline::of(&message).unwrap().records, 301);
        assert_eq!(Records::new(&message, 9).take(301).len(), 300);
        message.push(0x0a);
        assert!(Outline::of(&message).is_err());
    }

    #[test]
    fn a_record_of_endless_lists_is_left_out() {
        let dup_list = vec![pbflow::DupMapEntry::default(); LONGEST_RECORD];
        let endless = Record { dup_list, ..Record::default() };
        let records = vec![Record::default(), endless, Record::default()];
        let message = pbflow::Records { entries: records, ..Default::default() }.encode_to_vec();
        assert_eq!(Outline::of(&message).unwrap().records, 3);
        assert_eq!(Records::new(&message, 9).take(3).len(), 2);
    }

    #[test]
    fn what_is_read_past_is_counted_in_any_pieces() {
        let message = message();
        for size in [1, 2, 7, 100, message.len()] {
            let mut counter = EntryCounter::default();
            message.chunks(size).for_each(|piece| counter.feed(piece));
            assert_eq!(counter.count(), 300, "pieces of {size}");
        }
    }

    #[test]
    fn noise_does_not_break_the_counter() {
        let mut counter = EntryCounter::default();
        counter.feed(&[0xff; 100]);
        counter.feed(&[0x0b, 0x0a, 0x00, 0x0a, 0x00]);
        assert_eq!(counter.count(), 0);
    }
}
