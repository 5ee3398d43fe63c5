//! Where agents connect: a TCP port or a Unix socket, and the HTTP/2 server on it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;

use super::door::Door;
use super::{Grpc, Receiver};
use crate::cli::Listen;
use crate::counts::Counts;

/// Bytes of one request, and of all requests of one connection, that may be on their way and not yet read.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Requests of one connection at a time.
const STREAMS: u32 = 16;

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
        Listen::Port(port) => bind_everywhere(*port).await.map(Listener::Tcp),
        Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
        Listen::Unix(path) => bind_unix(path).await,
    };
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(listen.clone()),
        _ => ListenError::Refused(listen.clone(), error),
    })
}

/// IPv6 takes IPv4 as well, where there is IPv6.
async fn bind_everywhere(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        bound => bound,
    }
}

/// A socket file that nobody listens on is left from a killed collector: it is replaced.
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    let answer = UnixStream::connect(path).await;
    if is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    Ok(Listener::Unix(UnixListener::bind(path)?, SocketFile(path.to_owned())))
}

/// Serves those whom the door lets in, until `stop`, then until the requests under way are answered.
pub async fn serve<R: Receiver>(
    listener: Listener,
    ingest: Grpc<R>,
    (door, counts): (Door, Arc<Counts>),
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(20)));
    match listener {
        Listener::Tcp(listener) => {
            let entered = ReceiverStream::new(door.watch(listener, counts));
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
