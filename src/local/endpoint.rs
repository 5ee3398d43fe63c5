//! Where the agent meets the collector: a Unix socket in a folder that only this user can enter, or a port of 127.0.0.1.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

const PREFIX: &str = "oc-netobserv-";
const SOCKET: &str = "collector.sock";
/// A session whose folder has been empty for so long is over.
const ABANDONED: Duration = Duration::from_secs(60);
/// `sun_path` of Linux, less the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// Why agent and collector cannot meet.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another program listens there.
    #[error("port {port} of 127.0.0.1 is in use: choose another --listen-port, or leave it out")]
    InUse {
        /// The port.
        port: NonZeroU16,
    },
    /// The port cannot be had for another reason.
    #[error("cannot listen on port {port} of 127.0.0.1: {source}; choose another --listen-port, or leave it out")]
    Port {
        /// The port.
        port: NonZeroU16,
        /// What the system says.
        source: io::Error,
    },
    /// There is no place for the socket.
    #[error("cannot make a folder for the socket in {}: {source}; set TMPDIR, or use --listen-port", parent.display())]
    Folder {
        /// Where it was tried.
        parent: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The place for the socket has too long a name.
    #[error("{} is too long a name for a socket: set TMPDIR to a shorter folder, or use --listen-port", .0.display())]
    TooLong(PathBuf),
}

/// The meeting point. The folder of the socket goes when this is dropped.
#[derive(Debug)]
pub(super) enum Endpoint {
    Socket { path: PathBuf, _dir: TempDir },
    Port(NonZeroU16),
}

impl Endpoint {
    /// Checks that `port` is free, or makes a folder for a socket.
    pub(super) fn open(port: Option<NonZeroU16>) -> Result<Self, EndpointError> {
        match port {
            Some(port) => free_port(port).map(|()| Self::Port(port)),
            None => Self::socket_in(&std::env::temp_dir()),
        }
    }

    fn socket_in(parent: &Path) -> Result<Self, EndpointError> {
        remove_deserted(parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(|source| EndpointError::Folder { parent: parent.to_owned(), source })?;
        let path = dir.path().join(SOCKET);
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(EndpointError::TooLong(path));
        }
        Ok(Self::Socket { path, _dir: dir })
    }

    /// The collector's `--listen`.
    pub(super) fn listen(&self) -> OsString {
        match self {
            Self::Socket { path, .. } => unix_address(path),
            Self::Port(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST).into(),
        }
    }

    /// The agent's variables for the same place.
    pub(super) fn target(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Socket { path, .. } => vec![("TARGET_HOST", unix_address(path))],
            Self::Port(port) => {
                vec![("TARGET_HOST", Ipv4Addr::LOCALHOST.to_string().into()), ("TARGET_PORT", port.to_string().into())]
            }
        }
    }

    /// The collector can be reached.
    pub(super) fn is_listening(&self) -> bool {
        match self {
            Self::Socket { path, .. } => path.exists(),
            Self::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port.get())).is_ok(),
        }
    }
}

fn unix_address(path: &Path) -> OsString {
    let mut address = OsString::from("unix:");
    address.push(path);
    address
}

/// The listener is gone again on return; the collector opens its own.
fn free_port(port: NonZeroU16) -> Result<(), EndpointError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port.get())) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(EndpointError::InUse { port }),
        Err(source) => Err(EndpointError::Port { port, source }),
    }
}

/// Removes the folders of sessions that were killed: nobody listens on their socket any more, or it has been gone for
/// longer than any collector takes to make one.
fn remove_deserted(parent: &Path) {
    let ours = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(PREFIX));
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten().filter(|entry| ours(&entry.file_name())) {
        let folder = entry.path();
        // Others than the owner may not, and a folder that is in use after all is not empty.
        let _ = if is_deserted(&folder.join(SOCKET)) {
            std::fs::remove_dir_all(&folder)
        } else if is_old(&folder) {
            std::fs::remove_dir(&folder)
        } else {
            Ok(())
        };
    }
}

fn is_old(folder: &Path) -> bool {
    let changed = folder.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED))
}

#[cfg(unix)]
fn is_deserted(socket: &Path) -> bool {
    let answer = std::os::unix::net::UnixStream::connect(socket);
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(not(unix))]
fn is_deserted(_socket: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    #[test]
    fn a_socket_has_a_folder_that_goes_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::socket_in(parent.path()).unwrap();
        assert!(endpoint.listen().to_str().unwrap().starts_with("unix:/"));
        assert_eq!(endpoint.target(), [("TARGET_HOST", endpoint.listen())]);
        assert!(!endpoint.is_listening());
        assert_eq!(parent.path().read_dir().unwrap().count(), 1);
        drop(endpoint);
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_port_that_is_taken_is_refused() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = NonZeroU16::new(other.local_addr().unwrap().port()).unwrap();
        let error = Endpoint::open(Some(port)).unwrap_err().to_string();
        assert_eq!(error, format!("port {port} of 127.0.0.1 is in use: choose another --listen-port, or leave it out"));
    }

    #[test]
    fn only_deserted_folders_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let dir = parent.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            dir
        };
        let (dead, live) = (folder("oc-netobserv-dead"), folder("oc-netobserv-live"));
        let (young, foreign) = (folder("oc-netobserv-young"), folder("other"));
        let (old, old_live) = (folder("oc-netobserv-old"), folder("oc-netobserv-old-live"));
        let _old_listener = UnixListener::bind(old_live.join(SOCKET)).unwrap();
        let long_ago = SystemTime::now() - 2 * ABANDONED;
        for dir in [&old, &old_live] {
            std::fs::File::open(dir).unwrap().set_modified(long_ago).unwrap();
        }
        drop(UnixListener::bind(dead.join(SOCKET)).unwrap());
        drop(UnixListener::bind(foreign.join(SOCKET)).unwrap());
        let _listener = UnixListener::bind(live.join(SOCKET)).unwrap();
        remove_deserted(parent.path());
        assert_eq!([&dead, &old].map(|dir| dir.exists()), [false, false]);
        assert_eq!([&live, &old_live, &young, &foreign].map(|dir| dir.exists()), [true; 4]);
    }

    #[test]
    fn a_long_folder_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        assert!(Endpoint::socket_in(&long).unwrap_err().to_string().contains("use --listen-port"));
    }
}
