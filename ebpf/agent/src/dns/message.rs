//! Reads DNS messages (RFC 1035), as far as they were copied.

use std::fmt::Write;

/// Header of a message (4.1.1).
pub(super) const HEADER: usize = 12;
/// The root's name, a type and a class (4.1.2).
const SHORTEST_QUESTION: usize = 5;
/// Longest name in its wire form (2.3.4).
pub(super) const LONGEST_NAME: usize = 255;
/// Internet, Chaos, Hesiod, none and any (IANA "DNS CLASSes").
const CLASSES: [u16; 5] = [1, 3, 4, 254, 255];
/// In a class of multicast DNS: the answer may go to who asks alone (RFC 6762, 5.4).
const UNICAST_WANTED: u16 = 0x8000;
/// The QR bit: an answer.
const RESPONSE: u16 = 0x8000;

/// The part of a message that describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Chosen by the client.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, RCODE, as they stand in the header.
    pub flags: u16,
    /// How many questions it has.
    pub questions: u16,
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

/// Reads a message of `length` bytes, of which `bytes` is the beginning. None if it cannot be one.
pub fn message(bytes: &[u8], length: usize) -> Option<Message> {
    let message = header(bytes, length)?;
    let name = if message.questions > 0 { name(&bytes[HEADER..]).ok().map(|(name, _)| name) } else { None };
    Some(Message { name, ..message })
}

/// The same without the name.
pub(super) fn header(bytes: &[u8], length: usize) -> Option<Message> {
    if bytes.len() < HEADER {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (id, flags, questions) = (word(0), word(2), word(4));
    // Opcodes above 6 are not assigned, the Z bit must be zero, and the questions must fit: this is something else.
    if flags >> 11 & 0xf > 6 || flags & 0x40 != 0 || HEADER + usize::from(questions) * SHORTEST_QUESTION > length {
        return None;
    }
    Some(Message { id, flags, questions, name: None })
}

/// Whether bytes are the beginning of a message over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begins {
    /// Beyond doubt.
    Yes,
    /// They are not.
    No,
    /// There are too few of them to know.
    More,
}

/// Whether a message begins here with its length (4.2.2). Bytes from the middle of one look like that only by a rare
/// accident: the first question has to be whole, and of a class that exists.
pub(super) fn begins(bytes: &[u8]) -> Begins {
    let Some((length, body)) = bytes.split_first_chunk().map(|(l, body)| (usize::from(u16::from_be_bytes(*l)), body))
    else {
        return Begins::More;
    };
    let body = &body[..body.len().min(length)];
    if length < HEADER + SHORTEST_QUESTION {
        return Begins::No;
    }
    if body.len() < HEADER {
        return Begins::More;
    }
    if header(body, length).is_none_or(|message| message.questions == 0) {
        return Begins::No;
    }
    // A question ends with a type and a class of two bytes each.
    let class = name(&body[HEADER..]).and_then(|(_, end)| {
        let class = body.get(HEADER + end + 2..HEADER + end + 4).ok_or(Unreadable::Cut)?;
        Ok(u16::from_be_bytes([class[0], class[1]]) & !UNICAST_WANTED)
    });
    match class {
        Ok(class) if CLASSES.contains(&class) => Begins::Yes,
        Err(Unreadable::Cut) if body.len() < length => Begins::More,
        _ => Begins::No,
    }
}

/// Why there is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unreadable {
    /// It continues after the end.
    Cut,
    /// This is none.
    Wrong,
}

/// A name, and its length in its wire form.
fn name(bytes: &[u8]) -> Result<(Box<str>, usize), Unreadable> {
    let mut text = String::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at).ok_or(Unreadable::Cut)?);
        if length == 0 {
            break;
        }
        // The two upper bits mark a pointer (4.1.4), which a first name cannot have.
        if length > 63 || at + 1 + length > LONGEST_NAME {
            return Err(Unreadable::Wrong);
        }
        if at > 0 {
            text.push('.');
        }
        bytes.get(at + 1..=at + length).ok_or(Unreadable::Cut)?.iter().for_each(|byte| push(&mut text, *byte));
        at += 1 + length;
    }
    Ok((if text.is_empty() { ".".into() } else { text.into() }, at + 1))
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
        message(bytes, bytes.len()).expect("a message")
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
    fn questions_are_any_number_that_fits() {
        let mut two = query(9, 0x100, &[b"a"]);
        two[5] = 2;
        assert_eq!(message(&two, two.len()), None, "the second one is not there");
        two.extend([1, b'b', 0, 0, 1, 0, 1]);
        assert_eq!((one(&two).questions, one(&two).name.as_deref()), (2, Some("a")));
        let none = [9u16, 0x8181, 0, 0, 0, 0].map(u16::to_be_bytes).concat();
        assert_eq!((one(&none).questions, one(&none).name), (0, None));
    }

    #[test]
    fn a_message_is_known_by_its_beginning() {
        let asked = query(7, 0x8180, &[b"www", b"example", b"org"]);
        let whole = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
        for cut in 0..whole.len() {
            assert_eq!(begins(&whole[..cut]), Begins::More, "{cut} bytes");
            if cut > 0 {
                assert_ne!(begins(&whole[cut..]), Begins::Yes, "from byte {cut}");
            }
        }
        assert_eq!(begins(&whole), Begins::Yes);
        assert_eq!(begins(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), Begins::No);
    }

    #[test]
    fn nothing_that_comes_makes_it_fail() {
        let whole = query(7, 0x8180, &[b"www", b"example", b"org"]);
        for cut in 0..whole.len() {
            message(&whole[..cut], whole.len());
        }
        let mut state = 1u32;
        for length in 0..600 {
            let noise: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            message(&noise, length);
            begins(&noise);
        }
        assert_eq!(message(&[0x40; 12], 12), None, "more questions than there is room for");
    }
}
