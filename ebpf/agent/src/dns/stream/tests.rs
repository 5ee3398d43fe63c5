use super::*;

/// A query with this id, its length before it, and `extra` bytes behind its question.
fn query(id: u16, extra: usize) -> Vec<u8> {
    let question = b"\x01a\x07example\x00\x00\x01\x00\x01";
    let body = [&[id, 0x100, 1, 0, 0, 0].map(u16::to_be_bytes).concat()[..], question, &vec![0x55; extra]].concat();
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

struct Reader {
    stream: Stream,
    shared: Shared,
    ids: Vec<u16>,
}

impl Reader {
    /// Of a connection that is under way.
    fn new() -> Self {
        Self { stream: Stream::default(), shared: Shared { room: 1 << 20, lost: 0 }, ids: vec![] }
    }

    /// Of a connection that begins, with sequence number 1.
    fn begun() -> Self {
        let mut reader = Self::new();
        reader.piece(1, true, &[], 0);
        reader
    }

    fn take(&mut self, seq: u32, data: &[u8]) {
        self.piece(seq, false, data, 0);
    }

    fn piece(&mut self, seq: u32, syn: bool, data: &[u8], time_ns: u64) {
        let mut out = vec![];
        self.stream.take(Piece { seq, syn, data, time_ns, frame_bytes: 0 }, &mut self.shared, &mut out);
        self.ids.extend(out.iter().map(|read| read.message.id));
    }

    fn give_up(&mut self, now_ns: u64) {
        let mut out = vec![];
        self.stream.give_up(now_ns, now_ns, &mut self.shared, &mut out);
        self.ids.extend(out.iter().map(|read| read.message.id));
    }

    #[track_caller]
    fn assert(&self, ids: &[u16], lost: u64) {
        assert_eq!((&self.ids[..], self.shared.lost), (ids, lost));
        if !self.stream.is_gap() {
            assert_eq!(self.shared.room, 1 << 20, "all that was held is given back");
        }
    }
}

/// Ten messages, some longer than what is read.
fn ten() -> Vec<u8> {
    (1..=10).flat_map(|id| query(id, usize::from(id) * 131 % 1000)).collect()
}

const TEN: [u16; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

#[test]
fn messages_may_be_cut_anywhere() {
    let bytes = ten();
    for size in (1..60).chain([288, 1448, 65_535]) {
        let mut reader = Reader::begun();
        let mut seq = 1;
        for segment in bytes.chunks(size) {
            reader.take(seq, segment);
            seq += segment.len() as u32;
        }
        reader.assert(&TEN, 0);
    }
}

#[test]
fn segments_may_come_in_any_order_twice_and_overlapping() {
    let bytes = ten();
    for size in [3, 20, 100] {
        for from in [1, u32::MAX - 50] {
            let mut reader = Reader::new();
            reader.piece(from, true, &[], 0);
            let pieces: Vec<(usize, &[u8])> = bytes.chunks(size).enumerate().map(|(n, c)| (n * size, c)).collect();
            // Backwards in groups of five, each with some bytes of before, and each twice.
            for group in pieces.chunks(5) {
                for (at, data) in group.iter().rev().chain(group) {
                    let early = (*at).min(2);
                    reader.take(from.wrapping_add((at - early) as u32), &bytes[at - early..at + data.len()]);
                }
            }
            reader.assert(&TEN, 0);
        }
    }
}

#[test]
fn a_connection_under_way_is_joined_at_a_message() {
    let mut reader = Reader::new();
    let (a, b) = (query(1, 500), query(2, 0));
    reader.take(1000, &a[100..]);
    reader.assert(&[], 1);
    // Its length comes alone, and then the question in two parts.
    let seq = 1000 + a.len() as u32 - 100;
    for (at, end) in [(0, 2), (2, 20), (20, b.len())] {
        reader.take(seq + at as u32, &b[at..end]);
    }
    reader.assert(&[2], 1);
}

#[test]
fn bytes_that_do_not_come_count_and_what_follows_is_read() {
    let mut reader = Reader::begun();
    let (a, b, c) = (query(1, 0), query(2, 0), query(3, 0));
    reader.take(1, &a);
    let seq = 1 + a.len() as u32 + b.len() as u32;
    reader.piece(seq, false, &c, 7);
    reader.assert(&[1], 0);
    assert!(reader.stream.is_gap());
    reader.give_up(6);
    reader.assert(&[1], 0);
    reader.give_up(7);
    reader.assert(&[1, 3], 1);
    assert!(reader.stream.unread_since(7) && !reader.stream.unread_since(8));
    // They come after all: too late.
    reader.take(1 + a.len() as u32, &b);
    reader.assert(&[1, 3], 1);
}

#[test]
fn bytes_that_are_not_looked_at_may_be_missing() {
    let mut reader = Reader::begun();
    let (a, b) = (query(1, 5000), query(2, 0));
    reader.take(1, &a[..400]);
    reader.take(1 + 2000, &a[2000..2100]);
    reader.take(1 + a.len() as u32, &b);
    reader.assert(&[1, 2], 0);
}

#[test]
fn what_is_held_is_bounded() {
    let mut reader = Reader::begun();
    for number in 0..10_000 {
        reader.take(100 + number * 300, &[0xff; 288]);
        assert!(reader.shared.room >= (1 << 20) - MOST_HELD);
    }
    reader.assert(&[], 1);
    reader.shared.room = 10;
    let mut other = Reader { stream: Stream::default(), ..reader };
    other.piece(1, true, &[], 0);
    other.take(2, &query(1, 0));
    assert_eq!((other.shared.lost, other.ids.len(), other.stream.is_gap()), (2, 1, false), "no room: not held");
}

#[test]
fn what_is_not_dns_is_no_message() {
    let mut reader = Reader::begun();
    reader.take(1, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    reader.take(38, b"POST /dns-query HTTP/1.1\r\n");
    reader.assert(&[], 0);
    // But after a message, it is one that cannot be read.
    let mut reader = Reader::begun();
    let a = query(1, 0);
    reader.take(1, &a);
    reader.take(1 + a.len() as u32, &[0xff; 40]);
    reader.assert(&[1], 1);
    let after = 1 + a.len() as u32 + 40;
    reader.take(after, &query(2, 0));
    reader.assert(&[1, 2], 1);
}

#[test]
fn the_same_ports_may_be_used_again() {
    let mut reader = Reader::begun();
    reader.take(1, &query(1, 0)[..20]);
    reader.piece(5000, true, &[], 0);
    reader.take(5000, &query(2, 0));
    reader.assert(&[2], 1);
    // Without its SYN.
    reader.take(5000 + (1 << 30), &[]);
    reader.stream.next = Some(1 << 30);
    reader.take(5, &query(3, 0));
    assert_eq!(reader.ids, [2, 3]);
}
