//! A connection that has been let in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::crowd::Member;
use crate::ingest::Peer;

/// A connection and its place among the open ones.
pub struct Connection {
    stream: Stream,
    peer: Peer,
    _place: OwnedSemaphorePermit,
    _member: Member,
}

pub(super) enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    /// `preface` has been read already and is read again.
    Plain {
        preface: &'static [u8],
        stream: TcpStream,
    },
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Peer, place: OwnedSemaphorePermit, member: Member) -> Self {
        Self { stream, peer, _place: place, _member: member }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Plain { preface: [], stream } => Pin::new(stream).poll_read(context, buffer),
            Stream::Plain { preface, .. } => {
                let (now, later) = preface.split_at(preface.len().min(buffer.remaining()));
                buffer.put_slice(now);
                *preface = later;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Plain { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::Plain { stream, .. } => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Plain { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }
}
