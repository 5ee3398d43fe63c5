//! One gRPC message from the body of a request, in bounded memory.
//!
//! A message is taken into memory only while all messages together stay under a limit. One that has to wait
//! too long, or is too large, is read past instead, and the records in it are counted on the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use prost::bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};
use tonic::{Status, body};

use super::decode::EntryCounter;

/// Bytes of gRPC's prefix: a flag, and the length as four bytes.
pub(super) const PREFIX: usize = 5;
/// Largest message. Ten thousand records are 1.5 to 2 MB.
pub(super) const MAX_MESSAGE: usize = 16 << 20;
/// Bytes of all messages at work, in pages.
pub(super) const MEMORY_PAGES: usize = (48 << 20) / PAGE;
const PAGE: usize = 4096;
/// Longest time for a message to arrive once it has begun.
const SLOWEST: Duration = Duration::from_secs(10);

/// What counts as one record in a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Each entry of a `pbflow.Records`.
    Entries,
    /// The message.
    Message,
}

/// A message, and its share of the memory until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Error {
    /// There was no memory for it in time.
    Refused { flows: u64 },
    /// It is larger than [`MAX_MESSAGE`].
    TooLarge { flows: u64 },
    /// The request is broken.
    Bad(Status),
}

impl Error {
    /// Records that its sender has to send again.
    pub(super) fn flows(&self) -> u64 {
        match self {
            Self::Refused { flows } | Self::TooLarge { flows } => *flows,
            Self::Bad(_) => 0,
        }
    }
}

/// Reads the one message of a request; waits for memory until `deadline`.
pub(super) async fn read(
    body: body::Body,
    unit: Unit,
    memory: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<Body, Error> {
    let mut stream = Stream { body, chunk: Bytes::new() };
    let length = stream.prefix().await?;
    if length > MAX_MESSAGE {
        return Err(Error::TooLarge { flows: stream.count(unit).await? });
    }
    // A sign of life does not wait behind the batches of others.
    if length <= PAGE {
        return Ok(Body { bytes: stream.message(length).await?, _memory: None });
    }
    let pages = length.div_ceil(PAGE) as u32;
    match timeout_at(deadline.into(), memory.clone().acquire_many_owned(pages)).await {
        Ok(Ok(memory)) => Ok(Body { bytes: stream.message(length).await?, _memory: Some(memory) }),
        _ => Err(Error::Refused { flows: stream.count(unit).await? }),
    }
}

struct Stream {
    body: body::Body,
    chunk: Bytes,
}

impl Stream {
    /// Makes `chunk` not empty; `false` at the end of the body.
    async fn fill(&mut self) -> Result<bool, Error> {
        while self.chunk.is_empty() {
            let frame = timeout(SLOWEST, self.body.frame()).await;
            let frame = frame.map_err(|_| Error::Bad(Status::deadline_exceeded("the message did not arrive")))?;
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

    async fn message(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut message = Vec::with_capacity(length);
        while message.len() < length {
            self.need().await?;
            let part = self.chunk.len().min(length - message.len());
            message.extend_from_slice(&self.chunk.split_to(part));
        }
        Ok(message.into())
    }

    async fn count(&mut self, unit: Unit) -> Result<u64, Error> {
        let mut entries = EntryCounter::default();
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
    use http_body_util::Full;
    use netobserv_wire::pbflow::{Record, Records};
    use prost::Message;

    fn body(length: usize, message: &[u8]) -> body::Body {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(message);
        body::Body::new(Full::new(Bytes::from(bytes)))
    }

    async fn read_with(pages: usize, body: body::Body) -> Result<Body, Error> {
        let soon = Instant::now() + Duration::from_millis(10);
        read(body, Unit::Entries, &Arc::new(Semaphore::new(pages)), soon).await
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
