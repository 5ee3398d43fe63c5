//! Reads DNS messages (RFC 1035), as far as they were copied.

use std::fmt::Write;

/// Header of a message (4.1.1).
const HEADER: usize = 12;
/// Longest name in its wire form (2.3.4).
const LONGEST_NAME: usize = 255;
/// The QR bit: an answer.
const RESPONSE: u16 = 0x8000;

/// The part of a message that tells what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Chosen by whoever asks.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, RCODE, as they stand in the header.
    pub flags: u16,
    /// The first question's name without the last dot, `.` for the root; None if there is no question, or not all of
    /// it was copied. What is no printable ASCII is written `\DDD` (5.1).
    pub name: Option<Box<str>>,
}

impl Message {
    /// Whether it is an answer.
    pub fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }
}

/// The messages in the payload of one packet: one over UDP, any number over TCP.
pub fn messages(payload: &[u8], tcp: bool) -> Vec<Message> {
    if !tcp {
        return message(payload).into_iter().collect();
    }
    let mut found = vec![];
    let mut rest = payload;
    // Two bytes of length before each (4.2.2). A segment that begins in the middle of a message reads as
    // nonsense: the checks in `message` refuse most of that.
    while rest.len() > 2 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[2..];
        if length < HEADER {
            break;
        }
        found.extend(message(&rest[..length.min(rest.len())]));
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

fn message(bytes: &[u8]) -> Option<Message> {
    if bytes.len() < HEADER {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (id, flags, questions) = (word(0), word(2), word(4));
    // Opcodes above 6 are not assigned, the Z bit must be zero, and nobody asks two questions: this is something else.
    if flags >> 11 & 0xf > 6 || flags & 0x40 != 0 || questions > 1 {
        return None;
    }
    let name = if questions == 1 { name(&bytes[HEADER..]) } else { None };
    Some(Message { id, flags, name })
}

fn name(bytes: &[u8]) -> Option<Box<str>> {
    let mut text = String::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            break;
        }
        // The two upper bits mark a pointer (4.1.4), which a first name cannot have.
        if length > 63 || at + 1 + length > LONGEST_NAME {
            return None;
        }
        if at > 0 {
            text.push('.');
        }
        bytes.get(at + 1..=at + length)?.iter().for_each(|byte| push(&mut text, *byte));
        at += 1 + length;
    }
    Some(if text.is_empty() { ".".into() } else { text.into() })
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
        0x21..=0x7e => text.push(char::from(byte)),
        _ => write!(text, "\\{byte:03}").expect("writing to a string does not fail"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(id: u16, flags: u16, labels: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [id, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        for label in labels {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.extend([0, 0, 1, 0, 1]);
        bytes
    }

    fn one(bytes: &[u8]) -> Message {
        let [message] = &messages(bytes, false)[..] else { panic!("one message") };
        message.clone()
    }

    #[test]
    fn reads_id_flags_and_name() {
        let message = one(&query(0, 0x8183, &[b"no", b"example", b"com"]));
        assert_eq!((message.id, message.flags, message.name.as_deref()), (0, 0x8183, Some("no.example.com")));
        assert!(message.is_response());
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(one(&query(1, 0, &[])).name.as_deref(), Some("."));
        assert_eq!(one(&query(1, 0, &[b"a.b", b"\x00\xff\\ "])).name.as_deref(), Some("a\\.b.\\000\\255\\\\\\032"));
        let label = [b'x'; 63];
        let longest = one(&query(1, 0, &[&label, &label, &label, &label[..61]])).name.unwrap();
        assert_eq!(longest.len(), 253);
        assert_eq!(one(&query(1, 0, &[&label, &label, &label, &label])).name, None);
    }

    #[test]
    fn tcp_segments_hold_any_number_of_messages() {
        let (a, b) = (query(1, 0x100, &[b"a"]), query(2, 0x100, &[b"b"]));
        let mut segment = vec![];
        for message in [&a, &b] {
            segment.extend((message.len() as u16).to_be_bytes());
            segment.extend_from_slice(message);
        }
        let ids: Vec<_> = messages(&segment, true).iter().map(|m| m.id).collect();
        assert_eq!(ids, [1, 2]);
        assert!(messages(&[0, 0], true).is_empty());
    }

    #[test]
    fn nothing_that_comes_makes_it_fail() {
        let whole = query(7, 0x8180, &[b"www", b"example", b"org"]);
        for cut in 0..whole.len() {
            messages(&whole[..cut], false);
            messages(&whole[..cut], true);
        }
        let mut state = 1u32;
        for length in 0..600 {
            let noise: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            messages(&noise, length % 2 == 0);
        }
        assert_eq!(messages(&[0x40; 12], false), [], "more than one question");
    }
}
