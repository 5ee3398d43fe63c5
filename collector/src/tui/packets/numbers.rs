//! Sequence numbers as Wireshark shows them: counted from the beginning of the connection, not from the random number that it began with.

use crate::packets::headers::tcp_of;

/// Flags of TCP (RFC 9293).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The numbers from which a TCP segment's own number and the number that it acknowledges are counted; 0 shows them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// Of the sender.
    pub(crate) seq: u32,
    /// Of the receiver.
    pub(crate) ack: u32,
}

/// Where both ends of a connection began to count. Of one that is older than the capture this is the byte before the first that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers([Option<u32>; 2]);

impl Numbers {
    /// Takes a frame of the end `side` (0 or 1) into account, and returns what its numbers are counted from.
    pub(super) fn of(&mut self, side: usize, frame: &[u8]) -> Base {
        let Some((seq, ack, flags)) = header(frame) else { return Base::default() };
        let (own, other) = (side, 1 - side);
        if flags & SYN != 0 {
            // A new connection, perhaps between the same ports.
            self.0[own] = Some(seq);
            if flags & ACK == 0 {
                self.0[other] = None;
            }
        }
        let seq = *self.0[own].get_or_insert(seq.wrapping_sub(1));
        let ack = if flags & ACK == 0 { 0 } else { *self.0[other].get_or_insert(ack.wrapping_sub(1)) };
        Base { seq, ack }
    }
}

/// Sequence number, acknowledged number and flags.
fn header(frame: &[u8]) -> Option<(u32, u32, u8)> {
    let (at, _) = tcp_of(frame)?;
    let header = frame.get(at..at + 14)?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Some((number(4), number(8), header[13]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_testkit::Frame;

    fn segment(seq: u32, ack: u32, flags: u8) -> Vec<u8> {
        let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut bytes = frame.ipv4("10.0.0.1", "10.0.0.2").tcp(5_000, 80, flags).build();
        let at = tcp_of(&bytes).unwrap().0;
        bytes[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
        bytes[at + 8..at + 12].copy_from_slice(&ack.to_be_bytes());
        bytes
    }

    /// What is shown for a segment.
    fn shown(numbers: &mut Numbers, side: usize, seq: u32, ack: u32, flags: u8) -> (u32, u32) {
        let base = numbers.of(side, &segment(seq, ack, flags));
        (seq.wrapping_sub(base.seq), ack.wrapping_sub(base.ack))
    }

    #[test]
    fn both_ends_count_from_their_syn() {
        let mut numbers = Numbers::default();
        assert_eq!(shown(&mut numbers, 0, u32::MAX, 0, SYN), (0, 0));
        assert_eq!(shown(&mut numbers, 1, 700, 0, SYN | ACK), (0, 1));
        assert_eq!(shown(&mut numbers, 0, 0, 701, ACK), (1, 1));
        assert_eq!(shown(&mut numbers, 0, 99, 801, ACK), (100, 101));
        assert_eq!(shown(&mut numbers, 0, 5_000, 0, SYN), (0, 0), "the same ports again");
        assert_eq!(shown(&mut numbers, 1, 9_000, 5_001, SYN | ACK), (0, 1));
    }

    #[test]
    fn a_connection_that_is_older_begins_with_1() {
        let mut numbers = Numbers::default();
        assert_eq!(shown(&mut numbers, 1, 5_000, 7_000, ACK), (1, 1));
        assert_eq!(shown(&mut numbers, 0, 7_010, 5_100, ACK), (11, 101));
    }

    #[test]
    fn what_is_no_tcp_has_no_numbers() {
        let ping = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.0.0.1", "10.0.0.2").icmp(8, 0).build();
        assert_eq!(Numbers::default().of(0, &ping), Base::default());
    }
}
