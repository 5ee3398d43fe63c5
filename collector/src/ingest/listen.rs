//! Where agents connect: a TCP port or a Unix socket, and the HTTP/2 server on it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;

use super::admission::Admission;
use super::{Grpc, Receiver};
use crate::cli::Listen;
use crate::counts::Counts;

/// Bytes of one request, and of all requests of one connection, that may be on their way and not yet read.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Requests of one connection at a time.
const STREAMS: u32 = 16;
/// Connections that may wait until they are taken: all agents come in the same moment. One that finds no place is tried again by the
/// kernel, a second later. The kernel allows as many as `net.core.somaxconn`, by default 4,096.
const BACKLOG: u32 = 1_024;

/// An open place to listen. The file of a Unix socket goes with it.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone with its folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Someone else listens there.
    #[error("{0} is in use: end the program that listens there, or choose another with {option}", option = option(.0))]
    InUse(Listen),
    /// The system refused.
    #[error("cannot listen on {0}: {1}; choose another with {option}", option = option(.0))]
    Refused(Listen, io::Error),
}

fn option(listen: &Listen) -> &'static str {
    if matches!(listen, Listen::Port(_)) { "--port" } else { "--listen" }
}

/// Opens a place to listen.
///
/// # Errors
/// When it is in use, or the system refuses.
pub async fn bind(listen: &Listen) -> Result<Listener, ListenError> {
    let bound = match listen {
        Listen::Port(port) => bind_everywhere(*port).map(Listener::Tcp),
        Listen::Tcp(address) => bind_tcp(*address).map(Listener::Tcp),
        Listen::Unix(path) => bind_unix(path).await,
    };
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(listen.clone()),
        _ => ListenError::Refused(listen.clone(), error),
    })
}

/// IPv6 takes IPv4 as well, where there is IPv6.
fn bind_everywhere(port: u16) -> io::Result<TcpListener> {
    match bind_tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        bound => bound,
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // Connections of an earlier capture, which the kernel still remembers, do not hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket file without a listener is left from a killed collector: it is replaced.
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    let answer = UnixStream::connect(path).await;
    if is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    Ok(Listener::Unix(UnixListener::bind(path)?, SocketFile(path.to_owned())))
}

/// Serves the connections that are admitted, until `stop`, then until the requests under way are answered.
pub async fn serve<R: Receiver>(
    listener: Listener,
    ingest: Grpc<R>,
    (admission, counts): (Admission, Arc<Counts>),
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(20)));
    match listener {
        Listener::Tcp(listener) => {
            let entered = ReceiverStream::new(admission.watch(listener, counts));
            server.serve_with_incoming_shutdown(ingest, entered, stop).await
        }
        Listener::Unix(listener, _file) => {
            server.serve_with_incoming_shutdown(ingest, UnixListenerStream::new(listener), stop).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(&Listen::Tcp(address)).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{address} is in use: end the program that listens there, or choose another with --listen")
        );
    }

    #[tokio::test]
    async fn agents_that_come_together_do_not_wait_for_each_other() {
        let listener = bind(&Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))).await.unwrap();
        let Listener::Tcp(listener) = &listener else { panic!("{listener:?}") };
        let address = listener.local_addr().unwrap();
        // Their queue is full. A connection that has to be tried again takes a second.
        let soon = Duration::from_millis(900);
        let connect = |_| std::net::TcpStream::connect_timeout(&address, soon).expect("a place in the queue");
        let all: Vec<_> = (0..500).map(connect).collect();
        assert_eq!(all.len(), 500);
    }

    #[tokio::test]
    async fn a_socket_left_by_a_killed_collector_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = bind(&Listen::Unix(path.clone())).await.unwrap();
        assert!(matches!(bind(&Listen::Unix(path.clone())).await, Err(ListenError::InUse(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_is_not_taken_for_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(bind(&Listen::Unix(path.clone())).await.is_err());
        assert_eq!(std::fs::read(path).unwrap(), b"data");
    }
}
