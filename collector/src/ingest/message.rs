//! One gRPC message from the body of a request, in bounded memory and bounded time.
//!
//! It takes memory as it arrives, see [`Memory`]. One that has to wait too long, or is too large, is read past instead, and the records
//! in it are counted on the way. All of it has one deadline, however often a byte of it comes.

use std::time::Duration;

use http_body_util::BodyExt;
use prost::bytes::{Buf, Bytes};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, body};

use super::decode::EntryCounter;
use super::memory::{Hold, MAX_MESSAGE, Memory, PAGE};
use super::peer::Peer;

/// Bytes of gRPC's prefix: a flag, and the length as four bytes.
pub(super) const PREFIX: usize = 5;

/// How long a message may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// To arrive, from the request to its last byte.
    pub(super) arrival: Duration,
    /// To wait for memory, each time.
    pub(super) memory: Duration,
}

/// What counts as one record in a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Each entry of a `pbflow.Records`.
    Entries,
    /// The message.
    Message,
}

/// A message, and its memory until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) _memory: Option<Hold>,
}

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Error {
    /// There was no memory for it in time.
    Refused { flows: u64 },
    /// It is larger than [`MAX_MESSAGE`].
    TooLarge { flows: u64 },
    /// It did not arrive in time.
    Slow,
    /// The request is broken.
    Bad(Status),
}

impl Error {
    /// Records that its sender has to send again.
    pub(super) fn flows(&self) -> u64 {
        match self {
            Self::Refused { flows } | Self::TooLarge { flows } => *flows,
            Self::Slow | Self::Bad(_) => 0,
        }
    }
}

/// Reads the one message of a peer's request.
pub(super) async fn read(
    body: body::Body,
    unit: Unit,
    (memory, peer): (&Memory, Peer),
    times: Times,
) -> Result<Body, Error> {
    let mut stream = Stream { body, chunk: Bytes::new(), until: Instant::now() + times.arrival };
    let length = stream.prefix().await?;
    if length > MAX_MESSAGE {
        return Err(Error::TooLarge { flows: stream.count(unit, &[]).await? });
    }
    // A sign of life does not wait behind the batches of others.
    if length <= PAGE {
        let mut message = Vec::with_capacity(length);
        stream.append(&mut message, length).await?;
        return Ok(Body { bytes: message.into(), _memory: None });
    }
    let Some(mut hold) = memory.hold(peer, length, times.memory).await else {
        return Err(Error::Refused { flows: stream.count(unit, &[]).await? });
    };
    let mut message = Vec::new();
    while message.len() < length {
        // At most twice what has arrived.
        let end = (message.len() * 2).max(PAGE).min(length);
        if !hold.grow(end, times.memory).await {
            return Err(Error::Refused { flows: stream.count(unit, &message).await? });
        }
        if hold.is_hurried() {
            stream.until = stream.until.min(Instant::now() + times.memory);
        }
        message.reserve_exact(end - message.len());
        stream.append(&mut message, end).await?;
    }
    Ok(Body { bytes: message.into(), _memory: Some(hold) })
}

struct Stream {
    body: body::Body,
    chunk: Bytes,
    /// By when all of it must be there.
    until: Instant,
}

impl Stream {
    /// Makes `chunk` not empty; `false` at the end of the body.
    async fn fill(&mut self) -> Result<bool, Error> {
        while self.chunk.is_empty() {
            let frame = timeout_at(self.until, self.body.frame()).await.map_err(|_| Error::Slow)?;
            let Some(frame) = frame else { return Ok(false) };
            self.chunk = frame.map_err(Error::Bad)?.into_data().unwrap_or_default();
        }
        Ok(true)
    }

    async fn prefix(&mut self) -> Result<usize, Error> {
        let mut prefix = [0; PREFIX];
        for byte in &mut prefix {
            self.need().await?;
            *byte = self.chunk.get_u8();
        }
        let [compressed, length @ ..] = prefix;
        if compressed != 0 {
            return Err(Error::Bad(Status::unimplemented("compressed messages are not understood")));
        }
        Ok(u32::from_be_bytes(length) as usize)
    }

    /// Adds to a message until it has so many bytes.
    async fn append(&mut self, message: &mut Vec<u8>, length: usize) -> Result<(), Error> {
        while message.len() < length {
            self.need().await?;
            let part = self.chunk.len().min(length - message.len());
            message.extend_from_slice(&self.chunk.split_to(part));
        }
        Ok(())
    }

    /// Reads past the rest of a message that begins with `begun`.
    async fn count(&mut self, unit: Unit, begun: &[u8]) -> Result<u64, Error> {
        let mut entries = EntryCounter::default();
        entries.feed(begun);
        while self.fill().await? {
            entries.feed(&std::mem::take(&mut self.chunk));
        }
        match unit {
            Unit::Entries => Ok(entries.count()),
            Unit::Message => Ok(1),
        }
    }

    async fn need(&mut self) -> Result<(), Error> {
        if self.fill().await? { Ok(()) } else { Err(Error::Bad(Status::invalid_argument("the message is cut short"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use netobserv_wire::pbflow::{Record, Records};
    use prost::Message;

    fn body(length: usize, message: &[u8]) -> body::Body {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(message);
        body::Body::new(Full::new(Bytes::from(bytes)))
    }

    async fn read_with(pages: usize, body: body::Body) -> Result<Body, Error> {
        let memory = Memory::of(pages);
        // Everything that needs memory in addition to the common part waits for this.
        let _last = memory.take_last();
        read(body, Unit::Entries, (&memory, Peer::default()), times(10_000)).await
    }

    fn times(arrival_ms: u64) -> Times {
        Times { arrival: Duration::from_millis(arrival_ms), memory: Duration::from_millis(10) }
    }

    fn three() -> Vec<u8> {
        let record = Record { bytes: 5, dns_name: "x".repeat(PAGE), ..Record::default() };
        Records { entries: vec![record; 3], ..Records::default() }.encode_to_vec()
    }

    #[tokio::test]
    async fn a_message_comes_out_as_it_went_in() {
        let read = read_with(9, body(three().len(), &three())).await.unwrap();
        assert_eq!(read.bytes, three());
    }

    /// A message of a page and a half, of which a byte comes now and then and the end never.
    fn trickle() -> body::Body {
        let start = Bytes::from_static(&[0, 0, 0, 24, 0]);
        let bytes = futures_util::stream::unfold(Some(start), |next| async move {
            let data = next.unwrap_or_else(|| Bytes::from_static(&[0x0a]));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let frame = Full::new(data).frame().await.unwrap().unwrap();
            Some((Ok::<_, Status>(frame), None))
        });
        body::Body::new(StreamBody::new(bytes))
    }

    #[tokio::test]
    async fn bytes_that_trickle_do_not_put_the_end_off() {
        let memory = Memory::default();
        let read = |unit| read(trickle(), unit, (&memory, Peer::default()), times(50));
        assert!(matches!(read(Unit::Message).await, Err(Error::Slow)));
        let full = Memory::of(0);
        let _last = full.take_last();
        let refused = super::read(trickle(), Unit::Entries, (&full, Peer::default()), times(50)).await;
        assert!(matches!(refused, Err(Error::Slow)), "reading past has the same end: {refused:?}");
    }

    #[tokio::test]
    async fn what_was_kept_of_a_message_that_is_refused_in_the_middle_is_counted_too() {
        // Three records of a page each: two pages are there for the first of them, and no more.
        let refused = read_with(2, body(three().len(), &three())).await;
        assert!(matches!(refused, Err(Error::Refused { flows: 3 })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_small_message_needs_no_share() {
        assert!(read_with(0, body(0, b"")).await.unwrap().bytes.is_empty());
        assert_eq!(read_with(0, body(4, b"life")).await.unwrap().bytes, "life");
    }

    #[tokio::test]
    async fn without_memory_its_records_are_counted() {
        let refused = read_with(0, body(three().len(), &three())).await;
        assert!(matches!(refused, Err(Error::Refused { flows: 3 })), "{refused:?}");
    }

    #[tokio::test]
    async fn one_that_is_too_large_is_counted_too() {
        let refused = read_with(9, body(MAX_MESSAGE + 1, &three())).await;
        assert!(matches!(refused, Err(Error::TooLarge { flows: 3 })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_broken_one_is_told() {
        assert!(matches!(read_with(9, body(99, b"short")).await, Err(Error::Bad(_))));
        assert!(matches!(read_with(9, body::Body::empty()).await, Err(Error::Bad(_))));
        let compressed = body::Body::new(Full::new(Bytes::from_static(&[1, 0, 0, 0, 0])));
        assert!(matches!(read_with(9, compressed).await, Err(Error::Bad(_))));
    }
}
