//! Who gets in over TCP. Everybody can reach the port, so a connection that has not shown what it is costs little and does not
//! last: few of them at a time, the oldest goes first, and none keeps the next agent waiting.

mod crowd;
mod refusal;
mod stream;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::cli::Security;
use crate::counts::Counts;

use super::Peer;
use crowd::Crowd;
use refusal::{Refusal, Refusals};
pub use stream::Connection;
pub use tls::TlsError;

/// Time to show a certificate, or the beginning of HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that may be at that at a time.
const MOST_UNKNOWN: usize = 256;
/// Connections in all. A cluster has 5,000 nodes at most, and an agent that reconnects may hold two for a while.
const MOST_OPEN: usize = 6_000;
/// Files that the process needs besides connections.
const OTHER_FILES: usize = 128;
/// How long a refused peer is listened to, so that it gets to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after the system refused another connection.
const BREATH: Duration = Duration::from_millis(100);
/// What HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What TLS begins with: a handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection must show.
#[derive(Clone)]
pub enum Admission {
    /// A certificate of the session's CA.
    Tls(TlsAcceptor),
    /// That it speaks HTTP/2.
    Plain,
}

impl Admission {
    /// The security that was asked for.
    ///
    /// # Errors
    /// When there are no usable certificates.
    pub fn open(security: &Security) -> Result<Self, TlsError> {
        match security {
            Security::Plain => Ok(Self::Plain),
            Security::Tls(dir) => Ok(Self::Tls(TlsAcceptor::from(tls::server(dir)?))),
        }
    }

    /// Lets in who may come in, until the receiver is dropped.
    pub fn watch(self, listener: TcpListener, counts: Arc<Counts>) -> mpsc::Receiver<io::Result<Connection>> {
        let (inside, entered) = mpsc::channel(MOST_UNKNOWN);
        let (refusals, crowd) = (Arc::new(Refusals::new(counts)), Crowd::default());
        let acceptor = Acceptor { admission: self, refusals, crowd, inside };
        tokio::spawn(acceptor.work(listener));
        entered
    }
}

/// Reads the certificates.
#[derive(Clone)]
struct Acceptor {
    admission: Admission,
    refusals: Arc<Refusals>,
    crowd: Crowd,
    inside: mpsc::Sender<io::Result<Connection>>,
}

impl Acceptor {
    async fn work(self, listener: TcpListener) {
        let places = places();
        // Where there are few places, silent peers do not get them all.
        let mut unknown = Unknown { most: MOST_UNKNOWN.min(places / 2), tasks: VecDeque::new() };
        let places = Arc::new(Semaphore::new(places));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.inside.closed() => return,
            };
            let Ok((stream, peer)) = accepted else {
                // Mostly too many open files: the one that waits longest gives its own back.
                self.refusals.add(None, Refusal::System);
                unknown.drop_oldest();
                sleep(BREATH).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                self.refusals.add(Some(peer), Refusal::Full);
                continue;
            };
            if unknown.make_room() {
                self.refusals.add(None, Refusal::Crowd);
            }
            unknown.add(tokio::spawn(self.clone().meet(stream, peer, place)).abort_handle());
        }
    }

    async fn meet(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Small messages must not wait for more; without this it is slower, and that is all.
        let _ = stream.set_nodelay(true);
        let met = match self.admission {
            Admission::Tls(acceptor) => timeout(HANDSHAKE, meet_tls(acceptor, stream)).await,
            Admission::Plain => timeout(HANDSHAKE, meet_plain(stream)).await,
        };
        let met = met.unwrap_or(Err(Refusal::Silent));
        let who = Peer::at(peer);
        let entered = met.and_then(|stream| Ok((stream, self.crowd.enter(who).ok_or(Refusal::TooMany)?)));
        match entered {
            Ok((stream, member)) => {
                // The server is gone at the end of the capture.
                drop(self.inside.send(Ok(Connection::new(stream, who, place, member))).await);
            }
            Err(refusal) => self.refusals.add(Some(peer), refusal),
        }
    }
}

async fn meet_tls(acceptor: TlsAcceptor, stream: TcpStream) -> Result<stream::Stream, Refusal> {
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream::Stream::Tls(Box::new(stream))),
        Err((error, stream)) => {
            let refusal = Refusal::of(&error);
            say_farewell(stream).await;
            Err(refusal)
        }
    }
}

/// To close with unread bytes is to reset, and a reset takes the reason away from the peer.
async fn say_farewell(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut unread = [0; 1024];
    let listen = async { while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {} };
    let _ = timeout(FAREWELL, listen).await;
}

async fn meet_plain(mut stream: TcpStream) -> Result<stream::Stream, Refusal> {
    let (mut preface, mut length) = ([0; PREFACE.len()], 0);
    while length < preface.len() {
        match stream.read(&mut preface[length..]).await {
            Ok(0) | Err(_) => return Err(Refusal::Gone),
            Ok(read) => length += read,
        }
        if preface[0] == TLS_HANDSHAKE {
            return Err(Refusal::Tls);
        }
        if preface[..length] != PREFACE[..length] {
            return Err(Refusal::NotHttp2);
        }
    }
    Ok(stream::Stream::Plain { preface: PREFACE, stream })
}

/// Those that have not shown yet what they are, oldest first.
struct Unknown {
    most: usize,
    tasks: VecDeque<AbortHandle>,
}

impl Unknown {
    /// Whether another connection had to be closed for it.
    fn make_room(&mut self) -> bool {
        if self.tasks.len() >= self.most {
            self.tasks.retain(|task| !task.is_finished());
        }
        self.tasks.len() >= self.most && self.drop_oldest()
    }

    fn drop_oldest(&mut self) -> bool {
        self.tasks.retain(|task| !task.is_finished());
        let oldest = self.tasks.pop_front();
        oldest.iter().for_each(AbortHandle::abort);
        oldest.is_some()
    }

    fn add(&mut self, task: AbortHandle) {
        self.tasks.push_back(task);
    }
}

/// As many connections as the system has files for, up to [`MOST_OPEN`]. The usual limit of 1,024 files may be raised by anybody.
fn places() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let wanted = hard.min((MOST_OPEN + OTHER_FILES) as u64).max(soft);
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted);
    usize::try_from(raised).unwrap_or(MOST_OPEN).saturating_sub(OTHER_FILES).clamp(16, MOST_OPEN)
}
