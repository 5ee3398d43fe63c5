//! What both ends of a conversation have sent, as text: TCP in the order of its bytes, each of them once.

use std::sync::Arc;

use super::data::Kept;
use crate::packets::headers::{is_after, tcp_data, tcp_of, udp_data};

/// Most lines that are shown.
const MOST_LINES: usize = 20_000;

/// Who a line is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
    /// Not sent: a remark about what is missing.
    Note,
}

/// A line of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) from: Sender,
    pub(super) text: String,
}

/// The lines of these packets, which are in the order in which they were seen.
pub(super) fn lines<'a>(packets: impl Iterator<Item = &'a Arc<Kept>>) -> Vec<Line> {
    let mut stream = Stream::default();
    packets.for_each(|kept| stream.add(kept));
    stream.end_line();
    stream.lines
}

#[derive(Default)]
struct Stream {
    lines: Vec<Line>,
    /// The line that has not ended, and who it is from.
    open: Option<Line>,
    /// The number after the last byte of each end.
    next: [Option<u32>; 2],
}

impl Stream {
    fn add(&mut self, kept: &Kept) {
        // The kernel dropped it: the other end does not have it.
        if kept.cause.is_some() || self.lines.len() >= MOST_LINES {
            return;
        }
        let from = if kept.from_client { Sender::Client } else { Sender::Server };
        let (bytes, sent) = match tcp_of(&kept.data) {
            Some((at, end)) => match self.new_bytes(kept, at, end) {
                Some(found) => found,
                None => return,
            },
            None => match udp_data(&kept.data) {
                Some(range) => (kept.data.get(range.start..range.end.min(kept.data.len())), range.len()),
                None => return,
            },
        };
        let bytes = bytes.unwrap_or_default();
        self.text(from, bytes);
        if tcp_of(&kept.data).is_none() {
            self.end_line();
        }
        if bytes.len() < sent {
            self.note(format!("{} bytes are in the file only", sent - bytes.len()));
        }
    }

    /// The bytes of a segment that were not there before, as far as the screen has them, and their number.
    fn new_bytes<'a>(&mut self, kept: &'a Kept, at: usize, end: usize) -> Option<(Option<&'a [u8]>, usize)> {
        let (first, after) = tcp_data(&kept.data)?;
        let header = usize::from(*kept.data.get(at + 12)? >> 4) * 4;
        let next = &mut self.next[usize::from(!kept.from_client)];
        let expected = next.unwrap_or(first);
        if !is_after(after, expected) {
            return None;
        }
        *next = Some(after);
        let missing = if is_after(first, expected) { first.wrapping_sub(expected) } else { 0 };
        if missing > 0 {
            self.note(format!("{missing} bytes were not captured"));
        }
        let known = if missing > 0 { 0 } else { expected.wrapping_sub(first) as usize };
        let from = at + header + known;
        Some((kept.data.get(from..end.min(kept.data.len()).max(from)), end.saturating_sub(from)))
    }

    fn text(&mut self, from: Sender, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.open.as_ref().is_some_and(|line| line.from != from) {
                self.end_line();
            }
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let shown = String::from_utf8_lossy(text).chars().map(printable).collect::<String>();
            self.open.get_or_insert(Line { from, text: String::new() }).text.push_str(&shown);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn note(&mut self, text: String) {
        self.end_line();
        self.lines.push(Line { from: Sender::Note, text });
    }

    fn end_line(&mut self) {
        self.lines.extend(self.open.take());
    }
}

/// What has no picture is a dot, as in a dump.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        char::REPLACEMENT_CHARACTER => '.',
        c if c.is_control() => '.',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use netobserv_testkit::Frame;

    use super::*;
    use crate::tui::packets::data::kept_for_tests;

    fn segment(from_client: bool, seq: u32, payload: &[u8]) -> Arc<Kept> {
        let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.0.0.1", "10.0.0.2");
        let mut bytes = frame.tcp(5_000, 80, 0x18).carrying(payload).build();
        let at = tcp_of(&bytes).unwrap().0;
        bytes[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
        Arc::new(kept_for_tests(from_client, bytes))
    }

    fn texts(packets: &[Arc<Kept>]) -> Vec<(Sender, String)> {
        lines(packets.iter()).into_iter().map(|line| (line.from, line.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_repeated_bytes_are_there_once() {
        let packets = [
            segment(true, 1, b"GET / HTT"),
            segment(true, 10, b"P/1.1\r\nHost: a\r\n"),
            segment(true, 10, b"P/1.1\r\nHost: a\r\n"),
            segment(true, 18, b"ost: a\r\n\r\n"),
            segment(false, 1, b"HTTP/1.1 200\r\n\x01\xff"),
        ];
        let wanted = [
            (Sender::Client, "GET / HTTP/1.1"),
            (Sender::Client, "Host: a"),
            (Sender::Client, ""),
            (Sender::Server, "HTTP/1.1 200"),
            (Sender::Server, ".."),
        ];
        assert_eq!(texts(&packets), wanted.map(|(from, text)| (from, text.to_owned())));
    }

    #[test]
    fn what_is_missing_is_reported() {
        let packets = [segment(true, 1, b"one\n"), segment(true, 105, b"two\n")];
        let wanted = [
            (Sender::Client, "one".to_owned()),
            (Sender::Note, "100 bytes were not captured".to_owned()),
            (Sender::Client, "two".to_owned()),
        ];
        assert_eq!(texts(&packets), wanted);
    }
}
